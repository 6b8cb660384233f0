"""Every queue operation of the PyPI package huaweicloud-sdk-python against the broker whose HTTP address, access key, secret key
and project are given as arguments; it signs with the scope in the Credential. Prints one line for each step and exits 0 when all of
them did what they should."""

import collections
import collections.abc
import os
import sys
import time

endpoint, access_key, secret_key, project = sys.argv[1:5]

# The package is of 2020: Python 3.10 took away the names by which it knows these.
for name in ("Mapping", "MutableMapping", "Sequence", "Iterable", "Callable", "Hashable"):
    setattr(collections, name, getattr(collections.abc, name))
os.environ["OS_DMS_ENDPOINT_OVERRIDE"] = endpoint + "/v1.0/%(project_id)s"

from openstack import connection, exceptions  # noqa: E402  needs the names


def connect(secret):
    return connection.Connection(project_id=project, domain="example.test", region="local", ak=access_key, sk=secret).dms


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def refused(status, run, what):
    try:
        run()
    except exceptions.HttpException as e:
        equal(e.http_status, status, f"{what}: {e}")
        return
    raise AssertionError(f"{what}: not refused")


def drain(dms, queue, group, want):
    """Consumes until that many messages came; answers them."""
    got = []
    for _ in range(2 * want + 2):
        got += dms.consume_message(queue, group.id, max_msgs=10, time_wait=1)
        if len(got) >= want:
            return got
    raise AssertionError(f"only {len(got)} of {want} messages came")


def bodies(messages):
    return sorted((m.message["body"] for m in messages), key=str)


def main():
    dms = connect(secret_key)
    quota = list(dms.quotas())
    equal([(q.type, q.quota, q.used) for q in quota], [("queue", 30, 0)], "quota")
    made = dms.create_queue(name="orders", description="order events", queue_mode="NORMAL", redrive_policy="enable", max_consume_count=3)
    fifo = dms.create_queue(name="steps", queue_mode="FIFO")
    shown = dms.get_queue(made)
    equal((shown.name, shown.description, shown.queue_mode, shown.reservation, shown.max_msg_size_byte),
          ("orders", "order events", "NORMAL", 4320, 524288), "queue as shown")
    if abs(shown.created / 1000 - time.time()) > 300:
        raise AssertionError(f"created at {shown.created}")
    equal([q.name for q in dms.queues()], ["steps", "orders"], "queues, newest first")
    refused(400, lambda: dms.create_queue(name="orders"), "a name that is taken")
    refused(404, lambda: dms.get_queue("5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11"), "an unknown queue")
    print("ok queues", flush=True)

    billing, audit = dms.create_groups(made, groups=[{"name": "billing"}, {"name": "audit"}])
    equal([(g.id, g.name) for g in dms.groups(made)], [(billing.id, "billing"), (audit.id, "audit")], "groups, as made")
    print("ok groups", flush=True)

    sent = ["plain text", {"orderId": 42, "lines": [1, 2.5, None]}, "ü€𝄞"]
    dms.send_messages(made, messages=[{"body": sent[0], "attributes": {"source": "web", "retry": 1}}, {"body": sent[1]}, {"body": sent[2]}])
    got = drain(dms, made, billing, 3)
    equal(bodies(got), sorted(sent, key=str), "messages of the first group")
    equal([m.message["attributes"] for m in got if m.message["body"] == sent[0]], [{"source": "web", "retry": 1}], "attributes")
    for m in got:
        answer = dms.ack_consumed_message(m)
        equal((answer.success, answer.fail), (1, 0), "acknowledged one by one")
    refused(400, lambda: dms.ack_consumed_message(got[0]), "a second acknowledgement")
    got = drain(dms, made, audit, 3)
    answer = dms.ack_consumed_message(got)
    equal((answer.success, answer.fail), (3, 0), "acknowledged as a list")
    equal([(g.produced_messages, g.consumed_messages, g.available_messages) for g in dms.groups(made)], [(3, 3, 0)] * 2, "counters")
    print("ok messages", flush=True)

    (worker,) = dms.create_groups(fifo, groups=[{"name": "worker"}])
    dms.send_messages(fifo, messages=[{"body": i} for i in range(3)])
    got = dms.consume_message(fifo, worker.id, time_wait=1)
    equal([m.message["body"] for m in got], [0, 1, 2], "a FIFO queue in order")
    got[1].status = "fail"
    answer = dms.ack_consumed_message(got)
    equal((answer.success, answer.fail), (1, 2), "acknowledged up to the failure")
    got = dms.consume_message(fifo, worker.id, time_wait=1)
    equal([m.message["body"] for m in got], [1, 2], "from the failed one on")
    dms.ack_consumed_message(got)
    print("ok FIFO", flush=True)

    # With labels this client sends a query that it does not sign: refusing it is right.
    refused(401, lambda: dms.consume_message(made, billing.id, tags=["eu", "vip"]), "a query that was not signed")
    refused(401, lambda: list(connect(secret_key + "x").queues()), "another secret")
    print("ok refusals", flush=True)

    dms.delete_group(made, audit)
    equal([g.name for g in dms.groups(made)], ["billing"], "groups left")
    for queue in (made, fifo):
        dms.delete_queue(queue)
    equal(list(dms.queues()), [], "queues left")
    print("all operations")


main()
