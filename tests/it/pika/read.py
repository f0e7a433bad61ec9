"""Reads COUNT messages from QUEUE at URL and prints each as a line of JSON."""

import base64
import datetime
import json
import sys

import pika


def plain(value):
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"timestamp": int(value.replace(tzinfo=datetime.timezone.utc).timestamp())}
    return value


url, queue, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
for method, properties, body in channel.consume(queue, inactivity_timeout=20):
    if method is None:
        sys.exit(f"{count} messages are still to come")
    shown = {
        name: plain(value)
        for name, value in vars(properties).items()
        if value is not None and name != "headers"
    }
    shown["headers"] = {name: plain(value) for name, value in (properties.headers or {}).items()}
    shown["body"] = base64.b64encode(body).decode()
    shown["exchange"] = method.exchange
    shown["routing_key"] = method.routing_key
    print(json.dumps(shown), flush=True)
    channel.basic_ack(method.delivery_tag)
    count -= 1
    if count == 0:
        break
channel.cancel()
connection.close()
