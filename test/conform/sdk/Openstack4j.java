import com.huawei.openstack4j.api.OSClient;
import com.huawei.openstack4j.api.exceptions.AuthenticationException;
import com.huawei.openstack4j.api.exceptions.ClientResponseException;
import com.huawei.openstack4j.api.types.ServiceType;
import com.huawei.openstack4j.core.transport.Config;
import com.huawei.openstack4j.model.common.Identifier;
import com.huawei.openstack4j.openstack.OSFactory;
import com.huawei.openstack4j.openstack.common.AsyncHandler;
import com.huawei.openstack4j.openstack.identity.internal.OverridableEndpointURLResolver;
import com.huawei.openstack4j.openstack.message.queue.constant.ConsumeStatus;
import com.huawei.openstack4j.openstack.message.queue.domain.ConsumeConfirmResponse;
import com.huawei.openstack4j.openstack.message.queue.domain.ConsumerGroup;
import com.huawei.openstack4j.openstack.message.queue.domain.Queue;
import com.huawei.openstack4j.openstack.message.queue.domain.QueueMessage;
import com.huawei.openstack4j.openstack.message.queue.domain.QueueMessageWithHandler;
import com.huawei.openstack4j.openstack.message.queue.internal.MessageQueueService;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.logging.LogManager;

/**
 * Every queue operation of com.huawei:openstack4j, signed with an access key. Arguments: the broker's HTTP address, project, user,
 * password, access key, secret key, and "signed-first" or "signed-later". The latter logs in with a password before, and runs all of it
 * with the token too. Whether the client sends the port that it does not sign depends on that order.
 */
public class Openstack4j {
    private static final String NOWHERE = "5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11";

    private static String endpoint, project;

    public static void main(String[] args) {
        LogManager.getLogManager().reset(); // Java warns of every Host header that it does not send as the client wants
        int code = 1;
        try {
            all(args);
            code = 0;
        } catch (Throwable e) {
            e.printStackTrace();
        }
        System.exit(code); // threads of the client's pools are left
    }

    private static void all(String[] args) throws Exception {
        endpoint = args[0];
        project = args[1];
        boolean later = args[6].equals("signed-later");
        if (later) { // a client is of the thread's latest log-in, so that each runs before the next is made
            run("by token", byToken(args[2], args[3]), "ü€\uD834\uDD1E");
        }
        // Signed, this client sends what is outside the basic plane in another form than it signs.
        run("signed", signed(args[4], args[5]), "ü€");
        refused("401", () -> signed(args[4], args[5] + "x").messageQueue().queue().create("name", null), "another secret");
        if (later) {
            try {
                byToken(args[2], "another password");
                throw new AssertionError("a wrong password: not refused");
            } catch (AuthenticationException e) {
                equal(401, e.getStatus(), "a wrong password");
            }
        }
        System.out.println("ok refusals");
    }

    private static Config config() {
        OverridableEndpointURLResolver resolver = new OverridableEndpointURLResolver();
        resolver.addOverrideEndpoint(ServiceType.IDENTITY, endpoint + "/v3");
        resolver.addOverrideEndpoint(ServiceType.MessageQueue, endpoint + "/v1.0/%(project_id)s");
        return Config.newConfig().withEndpointURLResolver(resolver);
    }

    private static OSClient<?> byToken(String user, String password) {
        return OSFactory.builderV3().withConfig(config()).endpoint(endpoint + "/v3")
            .credentials(user, password, Identifier.byName("Default")).scopeToProject(Identifier.byId(project)).authenticate();
    }

    private static OSClient<?> signed(String accessKey, String secretKey) {
        return OSFactory.builderAKSK().withConfig(config()).credentials(accessKey, secretKey, "local", project, "example.test").authenticate();
    }

    private static void run(String how, OSClient<?> client, String text) throws Exception {
        MessageQueueService dms = client.messageQueue();
        equal(1, dms.quotas().get().size(), "quotas");
        equal(30, dms.quotas().get().get(0).getQuota(), "quota of queues");
        equal(0, dms.quotas().get().get(0).getUsed(), "queues used");
        Queue made = dms.queue().create("orders", "order events");
        equal("orders", made.getName(), "name of the queue made");
        Queue shown = dms.queue().get(made.getId());
        equal("order events", shown.getDescription(), "description");
        equal(4320, shown.getReservation(), "reservation");
        equal(524288, shown.getMaxMsgSizeByte(), "largest message");
        check(Math.abs(shown.getCreated().getTime() - new Date().getTime()) < 300_000, "created at " + shown.getCreated());
        equal(1, dms.queue().list().size(), "queues");
        refused("10240017", () -> dms.queue().create("orders", null), "a name that is taken");
        equal(null, dms.queue().get(NOWHERE), "an unknown queue");

        ConsumerGroup first = dms.consumerGroups().create(made.getId(), "first");
        List<ConsumerGroup> more = dms.consumerGroups().create(made.getId(), Arrays.asList("second", "third"));
        equal(Arrays.asList("second", "third"), Arrays.asList(more.get(0).getName(), more.get(1).getName()), "groups, as asked");
        ConsumerGroup second = more.get(0);

        HashMap<String, Object> attributes = new HashMap<>();
        attributes.put("attr1", 1);
        attributes.put("attr2", false);
        attributes.put("attr3", "value");
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("orderId", 42);
        object.put("lines", Arrays.asList(1, 2.5, null));
        Set<Object> sent = new HashSet<>(Arrays.asList("alone", text, object));
        check(dms.messages().produce(made.getId(), QueueMessage.builder().body("alone").attributes(attributes).build()).isSuccess(), "one message");
        check(dms.messages().produce(made.getId(), Arrays.asList(
            QueueMessage.builder().body(text).build(), QueueMessage.builder().body(object).attributes(attributes).build())).isSuccess(), "two messages");

        // As the client's functional test: up to three calls, nothing acknowledged between them.
        List<QueueMessageWithHandler> got = new ArrayList<>();
        for (int i = 0; i < 3 && got.size() < 3; i++) {
            got.addAll(dms.messages().consume(made.getId(), first.getId(), 5, 10));
        }
        equal(3, got.size(), "messages in three calls");
        Set<Object> bodies = new HashSet<>();
        for (QueueMessageWithHandler m : got) {
            bodies.add(m.getMessage().getBody());
            if ("alone".equals(m.getMessage().getBody())) {
                equal(attributes, m.getMessage().getAttributes(), "attributes");
            }
        }
        equal(sent, bodies, "bodies");
        confirm(dms, made, first, got);

        // And: one call for another group, its handlers acknowledged in the order of a hash map.
        List<QueueMessageWithHandler> once = dms.messages().consume(made.getId(), second.getId(), 5, 10);
        check(!once.isEmpty(), "no message for the second group");
        confirm(dms, made, second, once);

        many(dms, made, more.get(1));
        asynchronous(client, made, first);
        counters(dms, made);
        check(dms.consumerGroups().delete(made.getId(), first.getId()).isSuccess(), "a group deleted");
        equal(2, dms.consumerGroups().list(made.getId()).size(), "groups left");
        check(dms.queue().delete(made.getId()).isSuccess(), "the queue deleted");
        equal(404, dms.queue().delete(made.getId()).getCode(), "and deleted again");
        equal(0, dms.queue().list().size(), "queues left");
        System.out.println("ok all operations " + how);
    }

    /** Ten messages of one call, acknowledged in the order of a hash map, whatever batches they come in; then a failure. */
    private static void many(MessageQueueService dms, Queue queue, ConsumerGroup group) {
        List<QueueMessage> messages = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            messages.add(QueueMessage.builder().body("m" + i).build());
        }
        check(dms.messages().produce(queue.getId(), messages).isSuccess(), "ten messages");
        Set<Object> seen = new HashSet<>();
        for (int i = 0; i < 20 && seen.size() < 13; i++) {
            List<QueueMessageWithHandler> got = dms.messages().consume(queue.getId(), group.getId(), 10, 1);
            for (QueueMessageWithHandler m : got) {
                check(seen.add(m.getMessage().getBody()), "twice: " + m.getMessage().getBody());
            }
            if (!got.isEmpty()) {
                confirm(dms, queue, group, got);
            }
        }
        equal(13, seen.size(), "messages for a group");
        equal(0, dms.messages().consume(queue.getId(), group.getId(), 10, 1).size(), "messages left");
        check(dms.messages().produce(queue.getId(), messages.get(0)).isSuccess(), "one more");
        List<QueueMessageWithHandler> last = dms.messages().consume(queue.getId(), group.getId(), 10, 5);
        Map<String, ConsumeStatus> failed = new HashMap<>();
        failed.put(last.get(0).getHandler(), ConsumeStatus.FAIL);
        equal(1, dms.messages().confirmConsuming(queue.getId(), group.getId(), failed).getFail(), "a failure");
        last = dms.messages().consume(queue.getId(), group.getId(), 10, 5);
        equal("m0", last.get(0).getMessage().getBody(), "a failed message comes back");
        confirm(dms, queue, group, last);
        Map<String, ConsumeStatus> again = new HashMap<>();
        again.put(last.get(0).getHandler(), ConsumeStatus.SUCCESS);
        refused("10542209", () -> dms.messages().confirmConsuming(queue.getId(), group.getId(), again), "a second acknowledgement");
    }

    /** The same calls through the client's own threads. */
    private static void asynchronous(OSClient<?> client, Queue queue, ConsumerGroup group) throws Exception {
        check(client.messageQueueAsync().produceAsync(queue.getId(), QueueMessage.builder().body("later").build(), new Quiet<>()).get().isSuccess(), "a message");
        int got = 0;
        while (got < 12) { // ten of many and one more, and this
            List<QueueMessageWithHandler> some = client.messageQueueAsync().consumeAsync(queue.getId(), group.getId(), 10, 5, new Quiet<>()).get();
            check(!some.isEmpty(), "only " + got + " messages");
            Map<String, ConsumeStatus> handlers = new HashMap<>();
            some.forEach(m -> handlers.put(m.getHandler(), ConsumeStatus.SUCCESS));
            equal(some.size(), client.messageQueueAsync().confirmConsumingAsync(queue.getId(), group.getId(), handlers, new Quiet<>()).get().getSuccess(), "acknowledged");
            got += some.size();
        }
    }

    private static void counters(MessageQueueService dms, Queue queue) {
        List<ConsumerGroup> groups = dms.consumerGroups().list(queue.getId());
        equal(3, groups.size(), "groups");
        equal("first", groups.get(0).getName(), "the group made first");
        equal(15, groups.get(0).getProducedMessages(), "produced");
        equal(15, groups.get(0).getConsumedMessages(), "consumed");
        equal(0, groups.get(0).getAvailableMessages(), "available");
    }

    private static void confirm(MessageQueueService dms, Queue queue, ConsumerGroup group, List<QueueMessageWithHandler> messages) {
        Map<String, ConsumeStatus> handlers = new HashMap<>();
        messages.forEach(m -> handlers.put(m.getHandler(), ConsumeStatus.SUCCESS));
        ConsumeConfirmResponse answer = dms.messages().confirmConsuming(queue.getId(), group.getId(), handlers);
        equal(Arrays.asList(messages.size(), 0), Arrays.asList(answer.getSuccess(), answer.getFail()), "acknowledged");
    }

    private static void refused(String text, Runnable call, String what) {
        try {
            call.run();
        } catch (ClientResponseException e) {
            String said = e.getStatus() + " " + e.getMessage() + " " + e.getBody();
            check(said.contains(text), what + ": " + said);
            return;
        } catch (AuthenticationException e) {
            equal(text, "" + e.getStatus(), what);
            return;
        }
        throw new AssertionError(what + ": not refused");
    }

    private static void equal(Object want, Object got, String what) {
        check(Objects.equals(want, got), what + ": got " + got + ", want " + want);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static class Quiet<T> implements AsyncHandler<T> {
        public void onError(Exception e) {}

        public void onSuccess(T result) {}
    }
}
