#!/usr/bin/env python3
"""An AMQP worker that answers requests: whatever has `reply_to` gets a reply with its
`correlation_id`. The header `http-status` of a reply is the status of the HTTP response.

quote.requests   {"sku": ..., "quantity": n} -> a price; 422 when that cannot be read
stock.requests   {"sku": ...} -> how many are left
"""

import json
import os
import time

import pika

PRICE = 12.5


def quote(body):
    request = json.loads(body)
    quantity = int(request.get("quantity", 1))
    return {"sku": request["sku"], "quantity": quantity, "total": PRICE * quantity}


def stock(body):
    return {"sku": json.loads(body)["sku"], "left": 7}


QUEUES = {"quote.requests": quote, "stock.requests": stock}


def work(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=16)
        for queue, handle in QUEUES.items():
            # Whoever owns the queue has made it; a worker that came first tries again.
            channel.queue_declare(queue, passive=True)
            channel.basic_consume(queue, answering(queue, handle))
        print("worker: ready", flush=True)
        channel.start_consuming()
    finally:
        if connection.is_open:
            connection.close()


def answering(queue, handle):
    def on_message(channel, method, properties, body):
        try:
            status, value = 200, handle(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            status, value = 422, {"error": f"cannot read the request: {error!r}"}
        print(f"worker: {queue} {body.decode('utf-8', 'replace')} -> {status}", flush=True)
        if properties.reply_to:
            channel.basic_publish(
                exchange="",
                routing_key=properties.reply_to,
                body=json.dumps(value).encode() + b"\n",
                properties=pika.BasicProperties(
                    content_type="application/json",
                    correlation_id=properties.correlation_id,
                    delivery_mode=2,
                    headers={"http-status": status},
                ),
            )
        channel.basic_ack(method.delivery_tag)

    return on_message


def main():
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    while True:
        try:
            work(url)
        except pika.exceptions.AMQPError as error:
            print(f"worker: {error!r}, again in 1 s", flush=True)
        except KeyboardInterrupt:
            return
        time.sleep(1)


main()
