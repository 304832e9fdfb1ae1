"""Runs in the peers' environment: a book kept by the C package `order-book`; prints CPU seconds, one a repetition.

argv: a file of depth messages (one a line, the REST snapshot first), repetitions.
"""

import gc
import json
import sys
import time

import msgspec
import order_book


class Depth(msgspec.Struct, gc=False):
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class Message(msgspec.Struct, gc=False):
    data: Depth | None = None
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []


def change(side, levels):
    for price, size in levels:
        if size:
            side[price] = size
        elif price in side:
            del side[price]


def run(payloads):
    decode = msgspec.json.Decoder(Message, strict=False).decode
    book, best = order_book.OrderBook(), None
    for payload in payloads:
        message = decode(payload)
        if message.data is None:
            change(book.bids, message.bids)
            change(book.asks, message.asks)
        else:
            change(book.bids, message.data.b)
            change(book.asks, message.data.a)
            best = book.bids.index(0)[0], book.asks.index(0)[0]
    return best


def main():
    with open(sys.argv[1], "rb") as file:
        payloads = file.read().splitlines()
    times, best = [], None
    for _ in range(int(sys.argv[2])):
        gc.collect()
        began = time.process_time()
        best = run(payloads)
        times.append(time.process_time() - began)
    print(json.dumps({"cpu_s": times, "best": best}))


main()
