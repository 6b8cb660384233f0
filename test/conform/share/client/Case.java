import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** One case: a topic and a group of its own, named after it, and its part of the transcript. */
final class Case implements AutoCloseable {
    /** How long anything that must come may take on a busy machine. */
    static final Duration PATIENCE = Duration.ofSeconds(60);

    final String name;
    final Admin admin;
    private final String bootstrap;
    private final StringBuilder said = new StringBuilder();
    private final List<AutoCloseable> open = new ArrayList<>();

    Case(String name, String bootstrap, Admin admin) {
        this.name = name;
        this.bootstrap = bootstrap;
        this.admin = admin;
    }

    /** A line of the transcript: it must be the same whenever and wherever the case runs. */
    void say(String format, Object... args) {
        said.append("  ").append(String.format(format, args)).append('\n');
    }

    /** What differs from run to run, such as a time: beside the transcript. */
    void note(String format, Object... args) {
        System.err.printf("# %s: %s%n", name, String.format(format, args));
    }

    String said() {
        return said.toString();
    }

    /** Makes the case's topic and waits until it is led. */
    void topic(int partitions) throws Exception {
        topic(name, partitions);
    }

    void topic(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        Map<TopicPartition, OffsetSpec> all = new HashMap<>();
        for (int i = 0; i < partitions; i++) {
            all.put(new TopicPartition(topic, i), OffsetSpec.latest());
        }
        // Kafka confirms a topic before it knows it.
        await("leaders of " + topic, () -> thrown(() -> admin.listOffsets(all).all().get()).equals("nothing"));
    }

    /** Sets name=value settings of a group, and waits until they can be seen: Kafka confirms them before. */
    void settings(String group, String... settings) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        Map<String, String> want = new HashMap<>();
        Collection<AlterConfigOp> ops = new ArrayList<>();
        for (String s : settings) {
            String[] pair = s.split("=", 2);
            want.put(pair[0], pair[1]);
            ops.add(new AlterConfigOp(new ConfigEntry(pair[0], pair[1]), AlterConfigOp.OpType.SET));
        }
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
        await("settings of " + group, () -> {
            var is = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return want.entrySet().stream().allMatch(e -> e.getValue().equals(is.get(e.getKey()).value()));
        });
    }

    /** Sends values to partition 0 of the case's topic, in one batch. */
    void send(String... values) throws Exception {
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        for (String v : values) {
            records.add(new ProducerRecord<>(name, 0, null, v));
        }
        send(records);
    }

    /** Sends records, in one batch a partition. */
    void send(List<ProducerRecord<String, String>> records) {
        Map<String, Object> conf = new HashMap<>();
        conf.put("bootstrap.servers", bootstrap);
        conf.put("linger.ms", 60_000);
        conf.put("batch.size", 1 << 20);
        try (KafkaProducer<String, String> p = new KafkaProducer<>(conf, new StringSerializer(), new StringSerializer())) {
            records.forEach(p::send);
            p.flush();
        }
    }

    static String[] numbered(String prefix, int from, int to) {
        String[] values = new String[to - from];
        for (int i = from; i < to; i++) {
            values[i - from] = prefix + i;
        }
        return values;
    }

    /** A member of the case's group that has subscribed to its topic. */
    KafkaShareConsumer<String, String> member(String... properties) {
        return memberOf(name, properties);
    }

    KafkaShareConsumer<String, String> memberOf(String group, String... properties) {
        return subscribed(group, new StringDeserializer(), properties);
    }

    /** A member that takes values for integers of four bytes. */
    KafkaShareConsumer<String, Integer> integers(String... properties) {
        return subscribed(name, new IntegerDeserializer(), properties);
    }

    private <V> KafkaShareConsumer<String, V> subscribed(String group, Deserializer<V> values, String... properties) {
        Map<String, Object> conf = new HashMap<>();
        conf.put("bootstrap.servers", bootstrap);
        conf.put("group.id", group);
        for (String p : properties) {
            String[] pair = p.split("=", 2);
            conf.put(pair[0], pair[1]);
        }
        KafkaShareConsumer<String, V> c = new KafkaShareConsumer<>(conf, new StringDeserializer(), values);
        c.subscribe(List.of(name));
        open.add(c);
        return c;
    }

    KafkaShareConsumer<String, String> explicit(String... properties) {
        List<String> all = new ArrayList<>(List.of(properties));
        all.add("share.acknowledgement.mode=explicit");
        return member(all.toArray(String[]::new));
    }

    /** The records of the first poll that has any. */
    static List<ConsumerRecord<String, String>> poll(KafkaShareConsumer<String, String> c) throws Exception {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        await("records", () -> {
            c.poll(Duration.ofMillis(500)).forEach(got::add);
            return !got.isEmpty();
        });
        return got;
    }

    /** At least this many records of as many polls as that takes; every record is acknowledged by the next poll. */
    static List<ConsumerRecord<String, String>> take(KafkaShareConsumer<String, String> c, int n) throws Exception {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        await(n + " records", () -> {
            if (got.size() < n) {
                c.poll(Duration.ofMillis(500)).forEach(got::add);
            }
            return got.size() >= n;
        });
        return got;
    }

    /** All records up to the one with a value, each accepted. */
    static List<ConsumerRecord<String, String>> until(KafkaShareConsumer<String, String> c, String last, boolean explicit) throws Exception {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        await(last, () -> {
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(500))) {
                got.add(r);
                if (explicit) {
                    c.acknowledge(r, AcknowledgeType.ACCEPT);
                }
            }
            return got.stream().anyMatch(r -> last.equals(r.value()));
        });
        c.commitSync();
        return got;
    }

    /** offset=value#delivery of each record. */
    static String show(Collection<ConsumerRecord<String, String>> records) {
        return records.stream().map(r -> r.offset() + "=" + r.value() + "#" + r.deliveryCount().map(String::valueOf).orElse("?"))
            .collect(Collectors.joining(" "));
    }

    /** What commitSync answers: each partition's outcome. */
    static String commit(KafkaShareConsumer<?, ?> c) {
        return c.commitSync(PATIENCE).entrySet().stream()
            .map(e -> e.getKey().topicPartition() + " " + e.getValue().map(x -> x.getClass().getSimpleName()).orElse("ok"))
            .sorted().collect(Collectors.joining(", "));
    }

    interface Action {
        void run() throws Exception;
    }

    /** The simple name of what an action throws, causes of futures' failures in place of those. */
    static String thrown(Action action) {
        try {
            action.run();
            return "nothing";
        } catch (ExecutionException e) {
            return e.getCause().getClass().getSimpleName();
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void await(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("waited in vain for " + what);
            }
        }
    }

    @Override
    public void close() {
        for (AutoCloseable c : open) {
            try {
                c.close();
            } catch (Exception e) {
                note("close: %s", e);
            }
        }
    }
}
