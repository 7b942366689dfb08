"""Hetzner's own Python client drives the fake: list, create, await, find, power, delete."""

import os

from hcloud import APIException, Client
from hcloud.firewalls.domain import FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.ssh_keys import SSHKey

client = Client(os.environ["TOKEN"], api_endpoint=os.environ["URL"], poll_interval=0.05)


def refused(code, call):
    try:
        call()
    except APIException as error:
        assert error.code == code, (error.code, error.message)
        assert error.correlation_id
        return error
    raise AssertionError(f"no {code}")


def order(name, location="ash", **more):
    return client.servers.create(
        name=name,
        server_type=ServerType(name="cpx11"),
        image=Image(name="ubuntu-22.04"),
        location=Location(name=location),
        ssh_keys=[SSHKey(name="operator")],
        labels={"managed_by": "peer", "number": name},
        **more,
    )


# Catalog.
assert {place.name for place in client.locations.get_all()} >= {"ash", "fsn1", "sin"}
kind = client.server_types.get_by_name("cpx11")
assert kind.architecture == "x86" and kind.prices
sold = {entry.location.name: entry for entry in kind.locations}
assert sold["ash"].available and sold["ash"].deprecation is None
assert sold["fsn1"].deprecation is not None
image = client.images.get_by_name_and_architecture("ubuntu-22.04", "x86")
assert image.os_flavor == "ubuntu"
assert client.ssh_keys.get_by_name("operator").id == 1

# A firewall, once.
rules = [FirewallRule(direction="in", protocol="udp", port="41641", source_ips=["0.0.0.0/0"])]
firewall = client.firewalls.create(name="agents", rules=rules).firewall
assert firewall.rules[0].port == "41641"
refused("uniqueness_error", lambda: client.firewalls.create(name="agents", rules=rules))

# Create and await everything.
made = order("peer-1", firewalls=[firewall], user_data="#cloud-config\n{}")
assert made.server.status == "initializing" and made.root_password is None
made.action.wait_until_finished()
for action in made.next_actions:
    action.wait_until_finished()
server = client.servers.get_by_id(made.server.id)
assert server.status == "running" and server.location.name == "ash"
assert server.public_net.ipv4.ip and server.public_net.ipv6.ip.endswith("/64")
assert server.public_net.firewalls[0].firewall.id == firewall.id
assert client.servers.get_by_name("peer-1").id == server.id
assert client.servers.get_by_name("nobody") is None
found = client.servers.get_all(label_selector="managed_by==peer,number in (peer-1)")
assert [one.id for one in found] == [server.id]
assert {action.command for action in server.get_actions()} == {"create_server", "start_server"}
assert {ip.type for ip in client.primary_ips.get_all()} == {"ipv4", "ipv6"}

# Refusals.
refused("uniqueness_error", lambda: order("peer-1"))
wrong = refused("invalid_input", lambda: order("peer-2", location="fsn1"))
assert "unsupported location for server type" in wrong.message
assert wrong.details["fields"][0]["name"] == "location"
refused("invalid_input", lambda: order("not_a_host_name"))
refused("unauthorized", Client("x" * 64, api_endpoint=os.environ["URL"]).servers.get_all)

# More than one page.
for number in range(30):
    order(f"many-{number}")
assert len(client.servers.get_all(label_selector="managed_by=peer")) == 31

# Change, power, delete.
assert server.update(labels={"managed_by": "peer", "new": "label"}).labels["new"] == "label"
server.shutdown().wait_until_finished()
server.reload()
assert server.status == "off"
server.power_on().wait_until_finished()
stays = client.primary_ips.get_by_id(server.public_net.primary_ipv4.id)
assert stays.auto_delete and not stays.update(auto_delete=False).auto_delete
deletion = server.delete()
refused("locked", server.delete)
deletion.wait_until_finished()
refused("not_found", lambda: client.servers.get_by_id(server.id))
assert client.primary_ips.get_by_id(stays.id).assignee_id is None
assert client.primary_ips.delete(stays)
print("hetzner peer content")
