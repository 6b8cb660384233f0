"""Every operation of the PyPI package huaweicloudsdkdms against the broker whose HTTP address, access key, secret key and
project are given as arguments. Prints one line for each operation and exits 0 when all of them did what they should."""

import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkdms import v2 as dms

endpoint, access_key, secret_key, project = sys.argv[1:5]


def connect(key, secret, of_project):
    return (
        dms.DmsClient.new_builder()
        .with_endpoints([endpoint])
        .with_credentials(BasicCredentials(key, secret, of_project))
        .build()
    )


client = connect(access_key, secret_key, project)
operations = set()


def call(name, request, on=None):
    operations.add(name)
    return getattr(on or client, name)(request)


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def refused(status, code, name, request, on=None):
    try:
        call(name, request, on)
    except ClientRequestException as e:
        equal((e.status_code, str(e.error_code)), (status, f"DMS.{code}"), f"{name} refused: {e.error_msg}")
        if not e.request_id:
            raise AssertionError(f"{name}: a refusal without a request id")
        return
    raise AssertionError(f"{name}: not refused, want {status} {code}")


def create_queue(name, mode=None, **more):
    body = dms.CreateQueueReq(name=name, queue_mode=mode, **more)
    answer = call("create_queue", dms.CreateQueueRequest(body=body))
    equal(answer.name, name, "name of the queue made")
    return answer


def create_groups(queue, *names):
    body = dms.CreateConsumerGroupReq(groups=[dms.GroupEntity(name=n) for n in names])
    answer = call("create_consumer_group", dms.CreateConsumerGroupRequest(queue_id=queue, body=body))
    equal([g.name for g in answer.groups], list(names), "groups made, in the order asked")
    return [g.id for g in answer.groups]


def send(queue, *messages):
    body = dms.SendMessagesReq(return_id=True, messages=list(messages))
    answer = call("send_messages", dms.SendMessagesRequest(queue_id=queue, body=body))
    equal([m.state for m in answer.messages], [0] * len(messages), "states of the messages sent")
    ids = [m.id for m in answer.messages]
    equal(len(set(ids)), len(messages), "distinct ids")


def consume(queue, group, **how):
    how.setdefault("time_wait", 1)
    return call("consume_messages", dms.ConsumeMessagesRequest(queue_id=queue, consumer_group_id=group, **how)).body or []


def confirm(queue, group, *handlers, dead=False):
    entities = [dms.ConfirmMessageEntity(handler=h, status=s) for h, s in handlers]
    if dead:
        body = dms.ConfirmDeadLettersMessagesReq(message=entities)
        name, request = "confirm_dead_letters_messages", dms.ConfirmDeadLettersMessagesRequest(queue_id=queue, consumer_group_id=group, body=body)
    else:
        body = dms.ConfirmConsumptionMessagesReq(message=entities)
        name, request = "confirm_consumption_messages", dms.ConfirmConsumptionMessagesRequest(queue_id=queue, consumer_group_id=group, body=body)
    answer = call(name, request)
    return answer.success, answer.fail


def drain(queue, group, want, **how):
    """Consumes and confirms until that many messages came; answers their bodies."""
    bodies = []
    for _ in range(4 * want + 4):
        got = consume(queue, group, **how)
        bodies += [m.message.body for m in got]
        if got:
            equal(confirm(queue, group, *[(m.handler, "success") for m in got]), (len(got), 0), "confirmed")
        if len(bodies) >= want:
            return bodies
    raise AssertionError(f"only {len(bodies)} of {want} messages came: {bodies!r}")


def queues():
    used = call("show_quotas", dms.ShowQuotasRequest()).quotas.resources[0]
    equal((used.type, used.quota, used.min, used.max), ("queue", 30, 0, 500), "quota")

    normal = create_queue("orders", description="order events")
    shown = call("show_queue", dms.ShowQueueRequest(queue_id=normal.id))
    equal((shown.name, shown.queue_mode, shown.description, shown.reservation, shown.max_msg_size_byte, shown.group_count),
          ("orders", "NORMAL", "order events", 4320, 524288, 0), "queue as shown")
    equal(shown.created, shown.eff_date, "creation time")
    if abs(shown.created / 1000 - time.time()) > 300:
        raise AssertionError(f"created at {shown.created}")
    kafka = create_queue("clicks", "KAFKA_HT", retention_hours=24)
    equal(kafka.kafka_topic, f"k-{project}-{kafka.id}", "topic of a Kafka queue")
    equal(call("show_queue", dms.ShowQueueRequest(queue_id=kafka.id)).kafka_topic, kafka.kafka_topic, "topic as shown")
    listed = call("list_queues", dms.ListQueuesRequest(include_deadletter=True))
    equal([q.name for q in listed.queues], ["clicks", "orders"], "queues, newest first")
    equal(listed.total, 2, "queues in all")
    equal(listed.queues[1].redrive_policy, "disable", "redrive policy as listed")
    equal(call("show_quotas", dms.ShowQuotasRequest()).quotas.resources[0].used, used.used + 2, "queues used")
    refused(400, 10240017, "create_queue", dms.CreateQueueRequest(body=dms.CreateQueueReq(name="orders")))
    refused(400, 10240007, "create_queue", dms.CreateQueueRequest(body=dms.CreateQueueReq(name="or ders")))
    refused(400, 10240028, "create_queue", dms.CreateQueueRequest(body=dms.CreateQueueReq(name="other", retention_hours=3)))
    return normal.id, kafka.id


def messages(queue):
    billing, audit = create_groups(queue, "billing", "audit")
    send(queue,
         dms.SendMessageEntity(body="plain text"),
         dms.SendMessageEntity(body={"orderId": 42, "lines": [1, 2.5, None]}, attributes={"source": "web", "retry": 1}),
         dms.SendMessageEntity(body="ü€𝄞"))
    for group in (billing, audit):
        got = sorted(drain(queue, group, 3), key=str)
        equal(got, sorted(["plain text", {"orderId": 42, "lines": [1, 2.5, None]}, "ü€𝄞"], key=str), "bodies for each group")
    equal(consume(queue, billing), [], "nothing is left")

    send(queue, dms.SendMessageEntity(body="again"))
    first = consume(queue, billing, ack_wait=15)
    equal(consume(queue, billing), [], "a message under lease goes to nobody else")
    equal(confirm(queue, billing, (first[0].handler, "fail")), (0, 1), "a failure")
    second = consume(queue, billing)
    equal([m.message.body for m in second], ["again"], "a failed message comes back")
    refused(400, 10542209, "confirm_consumption_messages", dms.ConfirmConsumptionMessagesRequest(
        queue_id=queue, consumer_group_id=billing,
        body=dms.ConfirmConsumptionMessagesReq(message=[dms.ConfirmMessageEntity(handler=first[0].handler, status="success")])))
    refused(400, 10540004, "confirm_consumption_messages", dms.ConfirmConsumptionMessagesRequest(
        queue_id=queue, consumer_group_id=audit,
        body=dms.ConfirmConsumptionMessagesReq(message=[dms.ConfirmMessageEntity(handler=second[0].handler, status="success")])))
    equal(confirm(queue, billing, (second[0].handler, "success")), (1, 0), "and is confirmed then")
    drain(queue, audit, 1)

    listed = call("list_consumer_groups", dms.ListConsumerGroupsRequest(queue_id=queue, include_deadletter=True, include_messages_num=True))
    equal([(g.name, g.produced_messages, g.consumed_messages, g.available_messages, g.produced_deadletters) for g in listed.groups],
          [("billing", 4, 4, 0, 0), ("audit", 4, 4, 0, 0)], "counters of the groups")
    equal((listed.queue_id, listed.queue_name, listed.redrive_policy), (queue, "orders", "disable"), "whose groups")
    paged = call("list_consumer_groups", dms.ListConsumerGroupsRequest(queue_id=queue, page_size=1, current_page=2))
    equal([g.name for g in paged.groups], ["audit"], "the second page of groups")

    call("delete_specified_consumer_group", dms.DeleteSpecifiedConsumerGroupRequest(queue_id=queue, group_id=audit))
    refused(404, 10240405, "consume_messages", dms.ConsumeMessagesRequest(queue_id=queue, consumer_group_id=audit))
    refused(400, 10240014, "consume_messages", dms.ConsumeMessagesRequest(queue_id=queue, consumer_group_id=billing, max_msgs=11))


def labels(queue):
    (group,) = create_groups(queue, "labelled")
    send(queue, dms.SendMessageEntity(body="eu", tags=["eu", "vip"]), dms.SendMessageEntity(body="us", tags=["us"]))
    equal(drain(queue, group, 1, tag="eu"), ["eu"], "messages with the label")
    equal(consume(queue, group, tag="eu"), [], "and no others")
    refused(400, 10542204, "consume_messages", dms.ConsumeMessagesRequest(queue_id=queue, consumer_group_id=group, tag="us"))


def delay(queue):
    (group,) = create_groups(queue, "patient")
    drain(queue, group, 6)  # what other groups were sent
    start = time.time()
    send(queue, dms.SendMessageEntity(body="late", delay_time=2000))
    equal(consume(queue, group), [], "a delayed message is not there yet")
    equal(drain(queue, group, 1, time_wait=10), ["late"], "and comes when it is due")
    took = time.time() - start
    if not 2 <= took < 8:
        raise AssertionError(f"a delay of 2 s took {took:.1f} s")


def dead_letters():
    queue = create_queue("failing", "FIFO", redrive_policy="enable", max_consume_count=2).id
    (group,) = create_groups(queue, "worker")
    send(queue, *[dms.SendMessageEntity(body=i) for i in range(4)])
    for _ in range(2):
        got = consume(queue, group, max_msgs=2)
        equal([m.message.body for m in got], [0, 1], "in order, and again from the failed one")
        equal(consume(queue, group), [], "nothing passes an open lease")
        equal(confirm(queue, group, (got[0].handler, "fail"), (got[1].handler, "success")), (0, 2), "from the first failure on all fail")
    equal(drain(queue, group, 3), [1, 2, 3], "the failing one has stepped aside")
    request = dms.ConsumeDeadlettersMessageRequest(queue_id=queue, consumer_group_id=group, time_wait=5)
    dead = call("consume_deadletters_message", request).body
    equal([m.message.body for m in dead], [0], "the dead letter")
    equal(confirm(queue, group, (dead[0].handler, "success"), dead=True), (1, 0), "confirmed")
    shown = call("list_consumer_groups", dms.ListConsumerGroupsRequest(queue_id=queue, include_deadletter=True)).groups[0]
    equal((shown.consumed_messages, shown.produced_deadletters, shown.available_deadletters), (4, 1, 0), "counters with dead letters")
    call("delete_queue", dms.DeleteQueueRequest(queue_id=queue))
    refused(404, 10240401, "show_queue", dms.ShowQueueRequest(queue_id=queue))


def kafka_queue(queue):
    (group,) = create_groups(queue, "reader")
    send(queue, *[dms.SendMessageEntity(body=f"m{i}") for i in range(10)])
    equal(sorted(drain(queue, group, 10)), sorted(f"m{i}" for i in range(10)), "messages of a Kafka queue")


def tags(queue):
    def change(action, *pairs):
        body = dms.BatchCreateOrDeleteTagReq(action=action, tags=[dms.BatchCreateOrDeleteTagReqTags(key=k, value=v) for k, v in pairs])
        call("batch_create_or_delete_queue_tag", dms.BatchCreateOrDeleteQueueTagRequest(queue_id=queue, body=body))

    def shown():
        return {t.key: t.value for t in call("show_queue_tags", dms.ShowQueueTagsRequest(queue_id=queue)).tags}

    change("create", ("env", "prod"), ("team", "a"))
    change("create", ("env", "test"))
    equal(shown(), {"env": "test", "team": "a"}, "tags of the queue")
    of_project = call("show_queue_project_tags", dms.ShowQueueProjectTagsRequest()).tags
    equal({t.key: t.values for t in of_project}, {"env": ["test"], "team": ["a"]}, "tags of the project")
    change("delete", ("env", "test"), ("none", None))
    equal(shown(), {"team": "a"}, "tags after deletions")


def strangers(queue):
    show = dms.ShowQueueRequest(queue_id=queue)
    for what, other in (("another secret", connect(access_key, secret_key + "x", project)),
                        ("an unknown key", connect("NOBODY", secret_key, project)),
                        ("another project", connect(access_key, secret_key, "f" * 32))):
        try:
            call("show_queue", show, other)
        except ClientRequestException as e:
            if e.status_code not in (401, 403):
                raise AssertionError(f"{what}: {e.status_code} {e.error_code} {e.error_msg}")
            continue
        raise AssertionError(f"{what}: not refused")


def main():
    normal, kafka = queues()
    for name, step in (("messages", lambda: messages(normal)), ("labels", lambda: labels(normal)), ("delay", lambda: delay(normal)),
                       ("dead letters", dead_letters), ("Kafka queue", lambda: kafka_queue(kafka)), ("tags", lambda: tags(normal)),
                       ("strangers", lambda: strangers(normal))):
        step()
        print("ok", name, flush=True)
    for queue in (normal, kafka):
        call("delete_queue", dms.DeleteQueueRequest(queue_id=queue))
    equal(call("list_queues", dms.ListQueuesRequest()).total, 0, "queues left")
    every = {m for m in dir(dms.DmsClient) if m.split("_")[0] in ("batch", "confirm", "consume", "create", "delete", "list", "send", "show")}
    equal(operations, every, "operations tried")
    print("all", len(every), "operations")


main()
