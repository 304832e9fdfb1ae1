"""A server process that says what OKX says, as little and as fast as aiohttp does; prints its port first."""

import asyncio
import json
import time

from aiohttp import WSMsgType, web

INSTRUMENT = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "instIdCode": 10459,
    "baseCcy": "",
    "quoteCcy": "",
    "settleCcy": "USDT",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "uly": "BTC-USDT",
    "instFamily": "BTC-USDT",
    "tickSz": "0.1",
    "lotSz": "0.01",
    "minSz": "0.01",
    "lever": "100",
    "state": "live",
}
CONFIG = {"posMode": "net_mode", "acctLv": "3", "uid": "1", "perm": "read_only,trade"}
MONEY = {"ccy": "USDT", "eq": "1000000", "cashBal": "1000000", "availBal": "1000000", "availEq": "1000000"}
MONEY |= {"frozenBal": "0", "ordFrozen": "0", "upl": "0", "liab": "0"}
BALANCE = {"totalEq": "1000000", "uTime": "1695190491421", "details": [MONEY]}
ACK = {"clOrdId": "", "ordId": "312269865356374016", "sCode": "0", "sMsg": "", "tag": "", "ts": "1695190491421"}
IN_TIME = {"inTime": "1695190491421339", "outTime": "1695190491423240"}
ORDER_REPLY = json.dumps({"code": "0", "data": [ACK], "msg": "", **IN_TIME}).encode()


def rows(path: str, query: dict[str, str]) -> list[dict]:
    if path.endswith("/public/instruments"):
        return [INSTRUMENT] if query.get("instType") == "SWAP" else []
    if path.endswith("/account/config"):
        return [CONFIG]
    if path.endswith("/account/balance"):
        return [BALANCE]
    if path.endswith("/account/leverage-info"):
        return [{"instId": "BTC-USDT-SWAP", "lever": "10", "mgnMode": "cross", "posSide": "net"}]
    return []


async def get(request: web.Request) -> web.Response:
    if request.path.endswith("/public/time"):
        return web.json_response({"code": "0", "msg": "", "data": [{"ts": str(time.time_ns() // 1_000_000)}]})
    return web.json_response({"code": "0", "msg": "", "data": rows(request.path, dict(request.query))})


async def order(request: web.Request) -> web.Response:
    json.loads(await request.read())
    return web.Response(body=ORDER_REPLY, content_type="application/json")


async def socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=0)
    await ws.prepare(request)
    async for message in ws:
        if message.type is not WSMsgType.TEXT:
            break
        if message.data == "ping":
            await ws.send_str("pong")
            continue
        asked = json.loads(message.data)
        op = asked["op"]
        if op == "login":
            await ws.send_str(json.dumps({"event": "login", "code": "0", "msg": "", "connId": "1"}))
        elif op in ("subscribe", "unsubscribe"):
            for arg in asked["args"]:
                await ws.send_str(json.dumps({"event": op, "arg": arg, "connId": "1"}))
        else:
            await ws.send_str(
                json.dumps({"id": asked["id"], "op": op, "code": "0", "msg": "", "data": [ACK], **IN_TIME})
            )
    return ws


async def main() -> None:
    app = web.Application()
    app.router.add_get("/ws/{tail:.*}", socket)
    app.router.add_get("/{tail:.*}", get)
    app.router.add_post("/api/v5/trade/order", order)
    app.router.add_post("/api/v5/trade/batch-orders", order)  # by which ccxt sends one order
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
