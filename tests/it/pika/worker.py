"""Answers every request in QUEUE at URL with its body reversed; ends when it is killed."""

import sys

import pika


def answer(channel, method, request, body):
    properties = pika.BasicProperties(
        correlation_id=request.correlation_id,
        content_type="text/x-reversed",
        delivery_mode=2,
        headers={"http-status": 201, "x-seen-expiration": request.expiration},
    )
    channel.basic_publish("", request.reply_to, body[::-1], properties)
    channel.basic_ack(method.delivery_tag)


url, queue = sys.argv[1], sys.argv[2]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.basic_qos(prefetch_count=20)
channel.basic_consume(queue, answer)
channel.start_consuming()
