import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ShareGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;

/** Which records a group's members get, where it begins, and what an administrator sees of it. */
final class Reading {
    private Reading() {
    }

    static void add(Map<String, Main.Script> all) {
        all.put("acquire-modes", Reading::modes);
        all.put("begin-earliest", Reading::earliest);
        all.put("begin-latest", Reading::latest);
        all.put("begin-by-duration", Reading::byDuration);
        all.put("committed", Reading::committed);
        all.put("partitions", Reading::partitions);
        all.put("subscriptions", Reading::subscriptions);
        all.put("contents", Reading::contents);
        all.put("administration", Reading::administration);
    }

    private static final String EARLIEST = "share.auto.offset.reset=earliest";

    private static void modes(Case c) throws Exception {
        c.topic(1);
        for (int i = 0; i < 3; i++) {
            c.send(Case.numbered("r", i * 10, i * 10 + 10));
        }
        for (String mode : List.of("batch_optimized", "record_limit")) {
            String group = c.name + "-" + mode;
            c.settings(group, EARLIEST);
            KafkaShareConsumer<String, String> m = c.memberOf(group, "share.acquire.mode=" + mode, "max.poll.records=4");
            List<Integer> polls = new ArrayList<>();
            for (int n = 0; n < 30; n += polls.get(polls.size() - 1)) {
                polls.add(Case.poll(m).size());
            }
            c.say("%s, at most 4 at once: %s", mode, polls);
        }
    }

    private static void earliest(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("before");
        KafkaShareConsumer<String, String> m = c.member();
        c.say("%s", Case.show(Case.take(m, 1)));
    }

    /** How soon a new member of a new group has its first records; everything else has ended, and the client is warm. */
    static void first(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("a");
        long began = System.nanoTime();
        KafkaShareConsumer<String, String> m = c.member();
        Case.take(m, 1);
        c.note("first record after %d ms", (System.nanoTime() - began) / 1_000_000);
        m.metrics().forEach((name, metric) -> {
            if (name.name().equals("heartbeat-total")) {
                c.note("heartbeats until then: %s", metric.metricValue());
            }
        });
    }

    /** Nobody can say when a member has begun but itself, so records are sent until one of them is had. */
    private static void latest(Case c) throws Exception {
        c.topic(1);
        c.send("before");
        KafkaShareConsumer<String, String> m = c.member();
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        Case.await("a record sent after the beginning", () -> {
            m.poll(Duration.ofMillis(200)).forEach(got::add);
            c.send("after");
            return !got.isEmpty();
        });
        c.say("had: %s", got.stream().map(ConsumerRecord::value).collect(Collectors.toCollection(TreeSet::new)));
    }

    private static void byDuration(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, "share.auto.offset.reset=by_duration:PT1H");
        long now = System.currentTimeMillis();
        for (int hours = 3; hours >= 0; hours--) {
            c.send(List.of(new ProducerRecord<>(c.name, 0, now - hours * 3_600_000L + 60_000, null, hours + " h old")));
        }
        c.say("%s", Case.show(Case.until(c.member(), "0 h old", false)));
    }

    private static void committed(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST, "share.isolation.level=read_committed");
        c.send("a", "b");
        c.say("%s", Case.show(Case.take(c.member(), 2)));
    }

    private static void partitions(Case c) throws Exception {
        c.topic(3);
        c.settings(c.name, EARLIEST);
        List<ProducerRecord<String, String>> all = new ArrayList<>();
        for (int i = 0; i < 3000; i++) {
            all.add(new ProducerRecord<>(c.name, i % 3, null, String.valueOf(i)));
        }
        c.send(all);
        List<KafkaShareConsumer<String, String>> members = List.of(c.member(), c.member());
        Map<String, Integer> times = new TreeMap<>();
        Set<Integer> from = new TreeSet<>();
        Case.await("all records", () -> {
            for (KafkaShareConsumer<String, String> m : members) {
                for (ConsumerRecord<String, String> r : m.poll(Duration.ofMillis(100))) {
                    times.merge(r.value(), 1, Integer::sum);
                    from.add(r.partition());
                }
            }
            return times.size() >= all.size();
        });
        c.say("two members had %d records of partitions %s, %d of them twice", times.size(), from,
            times.values().stream().filter(n -> n > 1).count());
    }

    private static void subscriptions(Case c) throws Exception {
        String other = c.name + "-other";
        c.topic(1);
        c.topic(other, 1);
        c.settings(c.name, EARLIEST);
        c.send("one");
        c.send(List.of(new ProducerRecord<>(other, 0, null, "two")));
        KafkaShareConsumer<String, String> m = c.member();
        c.say("%s: %s", m.subscription(), Case.show(Case.take(m, 1)));
        m.subscribe(List.of(other));
        c.say("%s: %s", m.subscription(), Case.show(Case.take(m, 1)));
        m.subscribe(List.of(c.name, other, c.name + "-none"));
        c.send("three");
        c.say("with a topic that is not there: %s", Case.show(Case.take(m, 1)));
        m.unsubscribe();
        c.say("unsubscribed: %s, poll: %s", m.subscription(), Case.thrown(() -> m.poll(Duration.ofMillis(10))));
    }

    private static void contents(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        long now = System.currentTimeMillis();
        ProducerRecord<String, String> full = new ProducerRecord<>(c.name, 0, now, "key", "value");
        full.headers().add("h", "x".getBytes(StandardCharsets.UTF_8)).add("h", null);
        c.send(List.of(full, new ProducerRecord<String, String>(c.name, 0, now + 1, "tombstone", (String) null),
            new ProducerRecord<>(c.name, 0, now + 2, null, "x".repeat(200_000))));
        for (ConsumerRecord<String, String> r : Case.take(c.member(), 3)) {
            String headers = java.util.Arrays.stream(r.headers().toArray())
                .map(h -> h.key() + ":" + (h.value() == null ? "null" : new String(h.value(), StandardCharsets.UTF_8)))
                .collect(Collectors.joining(","));
            c.say("%d at +%d ms: %s=%s [%s]", r.offset(), r.timestamp() - now, r.key(),
                r.value() != null && r.value().length() > 10 ? r.value().length() + " characters" : r.value(), headers);
        }
    }

    private static void administration(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send(Case.numbered("r", 0, 10));
        KafkaShareConsumer<String, String> m = c.member("client.id=administered");
        Case.take(m, 10);
        m.commitSync();
        ShareGroupDescription d = c.admin.describeShareGroups(List.of(c.name)).describedGroups().get(c.name).get();
        c.say("%s, members: %s", d.groupState(), d.members().stream()
            .map(x -> x.clientId() + " at " + x.host() + " reads " + x.assignment().topicPartitions()).collect(Collectors.toList()));
        GroupListing listed = c.admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().stream()
            .filter(g -> g.groupId().equals(c.name)).findFirst().orElseThrow();
        c.say("listed: %s %s %s", listed.type().map(GroupType::toString).orElse("?"), listed.groupState().orElse(null), listed.protocol());
        TopicPartition p = new TopicPartition(c.name, 0);
        c.say("alter offsets with a member: %s", Case.thrown(() -> c.admin.alterShareGroupOffsets(c.name, Map.of(p, 3L)).all().get()));
        c.say("delete offsets with a member: %s", Case.thrown(() -> c.admin.deleteShareGroupOffsets(c.name, Set.of(c.name)).all().get()));
        c.say("delete with a member: %s", Case.thrown(() -> c.admin.deleteShareGroups(List.of(c.name)).all().get()));
        m.close();
        Case.await("an empty group", () -> c.admin.describeShareGroups(List.of(c.name)).describedGroups().get(c.name).get().members().isEmpty());
        c.admin.alterShareGroupOffsets(c.name, Map.of(p, 7L)).all().get();
        c.say("altered: %s", start(c, p));
        KafkaShareConsumer<String, String> again = c.member();
        c.say("from there: %s", Case.show(Case.take(again, 3)));
        again.close();
        c.admin.deleteShareGroupOffsets(c.name, Set.of(c.name)).all().get();
        c.say("offsets deleted: %s", start(c, p));
        c.say("deleted again: %s", Case.thrown(() -> c.admin.deleteShareGroupOffsets(c.name, Set.of(c.name)).all().get()));
        KafkaShareConsumer<String, String> fresh = c.member();
        c.say("from the beginning: %d", Case.take(fresh, 10).size());
        fresh.close();
        c.admin.deleteShareGroups(List.of(c.name)).all().get();
        c.say("describe after delete: %s", Case.thrown(() -> c.admin.describeShareGroups(List.of(c.name)).all().get()));
        c.say("delete again: %s", Case.thrown(() -> c.admin.deleteShareGroups(List.of(c.name)).all().get()));
    }

    private static String start(Case c, TopicPartition p) throws Exception {
        Map<TopicPartition, ?> all = c.admin.listShareGroupOffsets(Map.of(c.name, new ListShareGroupOffsetsSpec()))
            .partitionsToOffsetInfo(c.name).get();
        return String.valueOf(all.get(p));
    }
}
