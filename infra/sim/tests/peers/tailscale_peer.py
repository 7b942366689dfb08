"""An independent Tailscale client judges the fake. Its host is fixed, so the session redirects."""

import asyncio
import os

from aiohttp import ClientSession
from tailscale import Tailscale
from tailscale.exceptions import (
    TailscaleNotFoundError,
    TailscaleResponseError,
    TailscaleUnauthorizedError,
)
from yarl import URL

HERE = URL(os.environ["URL"])


class Redirected(ClientSession):
    """Sends what is meant for api.tailscale.com to the fake."""

    async def _request(self, method, url, **more):
        assert url.host == "api.tailscale.com", url
        url = url.with_scheme("http").with_host(HERE.host).with_port(HERE.port)
        return await super()._request(method, url, **more)


def client(session, secret):
    return Tailscale(
        oauth_client_id=os.environ["CLIENT_ID"], oauth_client_secret=secret, session=session
    )


async def main():
    async with Redirected() as session:
        peer = client(session, os.environ["CLIENT_SECRET"])
        key = await peer.create_key(
            description="job peer f1", expiry_seconds=3600, preauthorized=True, tags=["tag:agent"]
        )
        assert key.key.startswith("tskey-auth-") and key.expiry_seconds == 3600
        assert key.revoked.year == 1 and not key.invalid
        create = key.capabilities.devices.create
        assert create.preauthorized and not create.reusable and not create.ephemeral
        assert [one.key_id for one in await peer.keys()] == [key.key_id]
        assert (await peer.key(key.key_id)).key == ""
        await peer.delete_key(key.key_id)
        assert (await peer.key(key.key_id)).invalid
        try:
            await peer.create_key(tags=["tag:other"])
            raise AssertionError("a foreign tag was accepted")
        except TailscaleResponseError as error:
            assert "invalid or not permitted" in str(error), error

        devices = await peer.devices()
        by_name = {device.hostname: device for device in devices.values()}
        online, offline = by_name["online"], by_name["offline"]
        assert online.connected_to_control and online.last_seen is None
        assert not offline.connected_to_control and offline.last_seen is not None
        assert online.expires is None or online.expires.year == 1
        assert online.tags == ["tag:agent"] and online.authorized
        assert any(address.startswith("100.") for address in online.addresses)
        assert by_name["foreign"].is_external
        assert (await peer.device(online.node_id)).device_id == online.device_id
        await peer.authorize_device(online.node_id, authorized=False)
        assert not (await peer.device(online.node_id)).authorized
        await peer.delete_device(online.node_id)
        try:
            await peer.device(online.node_id)
            raise AssertionError("a deleted device is still there")
        except TailscaleNotFoundError:
            pass
        await peer.close()

    async with Redirected() as session:
        try:
            await client(session, "wrong").devices()
            raise AssertionError("a wrong secret was accepted")
        except TailscaleUnauthorizedError:
            pass


asyncio.run(main())
print("tailscale peer content")
