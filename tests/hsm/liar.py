#!/usr/bin/env python3
"""A proxy between the front and a signer that breaks the protocol. For tests only.

LIAR_SIGNER is the program of the signer and LIAR_MODE the kind of lie. Once the file LIAR_HONEST exists, new
processes pass everything on unchanged. Frames are four octets of length, most significant first, and a
message of postcard: Ready is 0, Answer is 2 and then the id of the request,
Login is 3, Noted is 4.
"""

import os
import random
import socket
import subprocess
import sys
import threading

MODE = "" if os.path.exists(os.environ["LIAR_HONEST"]) else os.environ["LIAR_MODE"]
READY, REFUSED, ANSWER, NOTED = 0, 1, 2, 4
LISTED = 2
FRAME_MAX = 8 * 1024 * 1024

front = socket.socket(fileno=0)
ours, theirs = socket.socketpair()
signer = subprocess.Popen([os.environ["LIAR_SIGNER"], "signer"], stdin=theirs, stdout=subprocess.DEVNULL)
theirs.close()


def orders():
    """What the front says goes through as it is, unless nobody reads it."""
    while MODE != "deaf" or not answered.is_set():
        octets = front.recv(65536)
        if not octets:
            break
        ours.sendall(octets)
    if MODE != "deaf":
        ours.shutdown(socket.SHUT_WR)


def exactly(count):
    octets = b""
    while len(octets) < count:
        more = ours.recv(count - len(octets))
        if not more:
            sys.exit(0)
        octets += more
    return octets


def say(content):
    front.sendall(len(content).to_bytes(4, "big") + content)


def varint(number):
    octets = b""
    while number > 127:
        octets += bytes([number & 127 | 128])
        number >>= 7
    return octets + bytes([number])


def rid(content):
    """An answer without its id."""
    end = 1
    while content[end] & 128:
        end += 1
    return content[end + 1:]


def for_ever(content):
    while True:
        say(content)


def lie(content, ready):
    """Passes an answer on, in its way."""
    if MODE == "noise":
        front.sendall(os.urandom(100_000))
    elif MODE == "huge":
        front.sendall(b"\xff\xff\xff\xff")
    elif MODE == "half":
        front.sendall(FRAME_MAX.to_bytes(4, "big") + bytes(1000))
    elif MODE == "empty":
        front.sendall(bytes(4))
    elif MODE == "unasked":
        say(bytes([ANSWER]) + varint(1 << 40) + rid(content))
    elif MODE == "twice":
        say(content)
        say(content)
    elif MODE == "ready again":
        say(content)
        say(ready)
    elif MODE == "refused late":
        say(bytes([REFUSED, 0, 0, 0, 0]))
    elif MODE == "flood of answers":
        for_ever(content)
    elif MODE == "flood of readiness":
        for_ever(ready)
    elif MODE == "flood of notes":
        for_ever(bytes([NOTED]) + bytes(6))
    elif MODE == "flood of keys":
        # As many keys as go into a frame when each is five octets of nothing.
        count = (FRAME_MAX - 64) // 5
        keys = bytes([ANSWER]) + content[1:2] + bytes([LISTED]) + varint(count) + bytes(5 * count)
        for_ever(keys)
    elif MODE == "keys without end":
        say(bytes([ANSWER]) + content[1:2] + bytes([LISTED]) + varint(1 << 62) + bytes(100))
    elif MODE == "wrong bits":
        wrong = bytearray(content)
        wrong[random.randrange(len(wrong))] ^= 1 << random.randrange(8)
        say(bytes(wrong))
    elif MODE == "drop by drop":
        for octet in len(content).to_bytes(4, "big") + content:
            front.send(bytes([octet]))
    elif MODE == "gone":
        os._exit(1)
    else:
        say(content)


def chatter():
    """Words without end, some of them without an end of line."""
    while True:
        os.write(2, b"ERROR nothing of this is true\n" * 1000 + b"x" * 100_000)


answered = threading.Event()
threading.Thread(target=orders, daemon=True).start()
if MODE == "chatter":
    threading.Thread(target=chatter, daemon=True).start()
ready = b""
try:
    while True:
        content = exactly(int.from_bytes(exactly(4), "big"))
        if content[0] == READY:
            ready = content
            if MODE == "strange":
                # A serial number of a million octets.
                say(bytes([READY]) + varint(1 << 20) + b"9" * (1 << 20) + content[1 + 1 + content[1]:])
            else:
                say(content)
        elif content[0] == ANSWER and MODE:
            answered.set()
            lie(content, ready)
        else:
            say(content)
except OSError:
    # The front does not listen any more.
    signer.kill()
