"""Produces and consumes with confluent-kafka; records are JSON lines with base64 bytes.

    client.py produce BOOTSTRAP TOPIC CODEC        reads records from standard input
    client.py consume BOOTSTRAP TOPIC GROUP N      GROUP "" reads partition 0 without a group
"""
import base64
import json
import sys

from confluent_kafka import Consumer, Producer, TopicPartition, OFFSET_BEGINNING


def raw(text):
    return None if text is None else base64.b64decode(text)


def text(data):
    return None if data is None else base64.b64encode(data).decode()


def produce(bootstrap, topic, codec):
    producer = Producer({"bootstrap.servers": bootstrap, "compression.codec": codec, "enable.idempotence": True,
                         "linger.ms": 5, "message.max.bytes": 2000000})
    failed = []
    for line in sys.stdin:
        r = json.loads(line)
        headers = [(raw(k).decode(), raw(v)) for k, v in r["headers"] or []]
        producer.produce(topic, value=raw(r["value"]), key=raw(r["key"]), partition=0, headers=headers,
                         timestamp=r["timestamp"], on_delivery=lambda e, _: failed.append(e) if e else None)
    left = producer.flush(60)
    if failed or left:
        sys.exit(f"failed: {failed}, unsent: {left}")


def consume(bootstrap, topic, group, count):
    settings = {"bootstrap.servers": bootstrap, "group.id": group or "unused", "enable.auto.commit": False,
                "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
    consumer = Consumer(settings)
    if group:
        consumer.subscribe([topic])
    else:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    got, last = 0, None
    while got < count:
        m = consumer.poll(60)
        if m is None:
            sys.exit(f"nothing for 60 s after {got} of {count}")
        if m.error():
            sys.exit(str(m.error()))
        headers = [[text(k.encode()), text(v)] for k, v in m.headers() or []]
        print(json.dumps({"key": text(m.key()), "value": text(m.value()), "headers": headers, "timestamp": m.timestamp()[1]}))
        got, last = got + 1, m
    if group:
        consumer.commit(message=last, asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    if sys.argv[1] == "produce":
        produce(*sys.argv[2:5])
    else:
        consume(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
