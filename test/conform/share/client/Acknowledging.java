import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.errors.RecordDeserializationException;

/** What becomes of records by their acknowledgement. */
final class Acknowledging {
    private Acknowledging() {
    }

    static void add(Map<String, Main.Script> all) {
        all.put("implicit", Acknowledging::implicit);
        all.put("explicit", Acknowledging::explicit);
        all.put("misuse", Acknowledging::misuse);
        all.put("callback", Acknowledging::callback);
        all.put("unreadable", Acknowledging::unreadable);
        all.put("close-commits", Acknowledging::closeCommits);
    }

    private static final String EARLIEST = "share.auto.offset.reset=earliest";

    private static void implicit(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send(Case.numbered("r", 0, 5));
        KafkaShareConsumer<String, String> m = c.member();
        c.say("first: %s", Case.show(Case.take(m, 5)));
        c.say("committed: %s", Case.commit(m));
        c.say("nothing to commit: %s", Case.commit(m));
        c.send("more");
        c.say("second: %s", Case.show(Case.take(m, 1)));
        m.close(); // what was polled last was not acknowledged
        KafkaShareConsumer<String, String> other = c.member();
        c.send("end");
        c.say("another member: %s", Case.show(Case.until(other, "end", false)));
    }

    private static void explicit(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send(Case.numbered("r", 0, 6));
        KafkaShareConsumer<String, String> m = c.explicit();
        List<ConsumerRecord<String, String>> got = Case.poll(m);
        c.say("acquired: %s", Case.show(got));
        AcknowledgeType[] types = {AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT,
            AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT};
        for (int i = 0; i < types.length; i++) {
            m.acknowledge(got.get(i), types[i]);
        }
        c.say("accepted 0 and 3, released 1 and 4, rejected 2 and 5: %s", Case.commit(m));
        c.send("end");
        c.say("then: %s", Case.show(Case.until(m, "end", true)));
        c.send("last");
        c.say("then: %s", Case.show(Case.until(m, "last", true)));
    }

    private static void misuse(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("a", "b");
        KafkaShareConsumer<String, String> m = c.explicit();
        List<ConsumerRecord<String, String>> got = Case.poll(m);
        c.say("poll with records unacknowledged: %s", Case.thrown(() -> m.poll(Duration.ofMillis(10))));
        c.say("acknowledge an offset that was not had: %s",
            Case.thrown(() -> m.acknowledge(c.name, 0, 77, AcknowledgeType.ACCEPT)));
        m.acknowledge(got.get(0), AcknowledgeType.RELEASE);
        m.acknowledge(got.get(0), AcknowledgeType.ACCEPT); // the last one holds
        m.acknowledge(got.get(1));
        c.say("committed: %s", Case.commit(m));
        c.say("acknowledge once more: %s", Case.thrown(() -> m.acknowledge(got.get(0), AcknowledgeType.ACCEPT)));
        m.close();
        KafkaShareConsumer<String, String> implicit = c.member();
        c.send("end");
        List<ConsumerRecord<String, String>> last = Case.take(implicit, 1);
        c.say("then: %s", Case.show(last));
        c.say("acknowledge where it is implied: %s", Case.thrown(() -> implicit.acknowledge(last.get(0), AcknowledgeType.ACCEPT)));
    }

    private static void callback(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send(Case.numbered("r", 0, 4));
        List<String> told = Collections.synchronizedList(new ArrayList<>());
        KafkaShareConsumer<String, String> m = c.explicit();
        m.setAcknowledgementCommitCallback((offsets, e) -> offsets.forEach((p, all) ->
            told.add(p.topicPartition() + " " + new TreeSet<>(all) + " " + (e == null ? "ok" : e.getClass().getSimpleName()))));
        List<ConsumerRecord<String, String>> got = Case.poll(m);
        got.forEach(r -> m.acknowledge(r, r.offset() % 2 == 0 ? AcknowledgeType.ACCEPT : AcknowledgeType.REJECT));
        m.commitAsync();
        Case.await("the callback", () -> {
            m.poll(Duration.ofMillis(100));
            return !told.isEmpty();
        });
        c.say("told: %s", told);
        told.clear();
        c.send("piggybacked");
        Case.poll(m).forEach(m::acknowledge);
        Case.await("the callback", () -> {
            m.poll(Duration.ofMillis(100));
            return !told.isEmpty();
        });
        c.say("told of what a poll took along: %s", told);
        told.clear();
        c.send("closed");
        Case.poll(m).forEach(m::acknowledge);
        m.close();
        c.say("told by close: %s", told);
    }

    /** A record that cannot be read is known by its offset alone. */
    private static void unreadable(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("1234", "not four bytes", "5678");
        KafkaShareConsumer<String, Integer> m = c.integers("share.acknowledgement.mode=explicit");
        List<String> got = new ArrayList<>();
        Case.await("three records", () -> {
            try {
                m.poll(Duration.ofMillis(500)).forEach(r -> {
                    got.add(r.offset() + " read");
                    m.acknowledge(r);
                });
            } catch (RecordDeserializationException e) {
                got.add(e.offset() + " unreadable");
                m.acknowledge(c.name, e.topicPartition().partition(), e.offset(), AcknowledgeType.REJECT);
            }
            return got.size() >= 3;
        });
        c.say("%s", got);
        c.say("committed: %s", Case.commit(m));
        m.close();
        c.send("end");
        c.say("then: %s", Case.show(Case.until(c.member(), "end", false)));
    }

    private static void closeCommits(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("a", "b", "c");
        KafkaShareConsumer<String, String> m = c.explicit();
        Case.poll(m).forEach(r -> m.acknowledge(r, AcknowledgeType.ACCEPT));
        m.close();
        c.send("end");
        c.say("another member: %s", Case.show(Case.until(c.explicit(), "end", true)));
    }
}
