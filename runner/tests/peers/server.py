"""Hetzner's own Python client orders a server, waits as its authors mean it, and says so."""

import os

from hcloud import Client
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.ssh_keys import SSHKey

client = Client(os.environ["TOKEN"], api_endpoint=os.environ["URL"])
made = client.servers.create(
    name=os.environ["NAME"],
    server_type=ServerType(name="cpx11"),
    image=Image(name="ubuntu-22.04"),
    location=Location(name="ash"),
    ssh_keys=[SSHKey(id=1)],
)
made.action.wait_until_finished()
for action in made.next_actions:
    action.wait_until_finished()
print("noticed", flush=True)
