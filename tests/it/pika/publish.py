"""Publishes COUNT messages with every property to QUEUE at URL, confirmed."""

import datetime
import decimal
import sys

import pika

url, queue, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
for number in range(count):
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="identity",
        delivery_mode=2,
        priority=4,
        correlation_id=f"c-{number}",
        expiration="600000",
        message_id=f"pika-{number}",
        timestamp=1700000000,
        type="test.made",
        app_id="pika",
        headers={
            "x-text": "Grüße",
            "x-int": 7,
            "x-big": 2**40,
            "x-negative": -3,
            "x-true": True,
            "x-none": None,
            "x-decimal": decimal.Decimal("1.25"),
            "x-bytes": b"\x00\xff",
            "x-when": datetime.datetime(2023, 11, 14, 22, 13, 20),
            "x-list": ["a", 1],
            "x-table": {"k": "v"},
        },
    )
    channel.basic_publish("", queue, b'{"number": %d}' % number, properties, mandatory=True)
connection.close()
