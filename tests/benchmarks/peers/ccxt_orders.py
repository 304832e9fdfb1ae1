"""Runs in the peers' environment: orders through ccxt, one in flight; prints CPU seconds an order, one a round.

argv: port, orders a round, rounds.
"""

import asyncio
import json
import sys
import time

import ccxt.async_support as ccxt

MARKET = {
    "id": "BTC-USDT-SWAP",
    "symbol": "BTC/USDT:USDT",
    "base": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "baseId": "BTC",
    "quoteId": "USDT",
    "settleId": "USDT",
    "type": "swap",
    "spot": False,
    "margin": False,
    "swap": True,
    "future": False,
    "option": False,
    "contract": True,
    "linear": True,
    "inverse": False,
    "contractSize": 0.01,
    "active": True,
    "precision": {"amount": 0.01, "price": 0.1},
    "limits": {"amount": {"min": 0.01}, "price": {}, "cost": {}, "leverage": {}},
    "info": {"instType": "SWAP", "instId": "BTC-USDT-SWAP"},
}


async def main():
    port, orders, rounds = map(int, sys.argv[1:4])
    exchange = ccxt.okx({"apiKey": "k" * 36, "secret": "S" * 32, "password": "passphrase", "enableRateLimit": False})
    for name in list(exchange.urls["api"]):
        exchange.urls["api"][name] = f"http://127.0.0.1:{port}"
    exchange.set_markets([exchange.safe_market_structure(MARKET)], {})
    number = 0
    times = []
    for _ in range(rounds + 1):
        began = time.process_time()
        for _ in range(orders):
            number += 1
            await exchange.create_order("BTC/USDT:USDT", "limit", "buy", 1, 30000.1, {"clOrdId": f"x{number}"})
        times.append((time.process_time() - began) / orders)
    await exchange.close()
    print(json.dumps({"cpu_s": times[1:]}))


asyncio.run(main())
