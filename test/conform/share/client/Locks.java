import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;

/** How long a record is a member's: expiry, renewal, close, and how often it is delivered. */
final class Locks {
    private Locks() {
    }

    static void add(Map<String, Main.Script> all) {
        all.put("lock-expires", Locks::expires);
        all.put("lock-renewed", Locks::renewed);
        all.put("delivery-limit", Locks::limit);
        all.put("close-releases", Locks::closing);
        all.put("two-members", Locks::two);
    }

    private static final String EARLIEST = "share.auto.offset.reset=earliest";
    /** The shortest lock there may be. */
    private static final String SHORT = "share.record.lock.duration.ms=15000";

    private static void expires(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST, SHORT);
        c.send("a", "b");
        KafkaShareConsumer<String, String> slow = c.explicit();
        List<ConsumerRecord<String, String>> held = Case.poll(slow);
        long since = System.nanoTime();
        c.say("acquired: %s, for %d ms", Case.show(held), slow.acquisitionLockTimeoutMs().orElse(-1));
        KafkaShareConsumer<String, String> next = c.explicit();
        List<ConsumerRecord<String, String>> again = Case.poll(next);
        long waited = (System.nanoTime() - since) / 1_000_000;
        c.note("acquired by another after %d ms", waited);
        c.say("acquired by another: %s, before the lock ran out: %b", Case.show(again), waited < 14_000);
        held.forEach(r -> slow.acknowledge(r, AcknowledgeType.ACCEPT));
        c.say("accepted too late: %s", Case.commit(slow));
        again.forEach(r -> next.acknowledge(r, AcknowledgeType.ACCEPT));
        c.say("accepted in time: %s", Case.commit(next));
    }

    /** The lock would run out at 15 s; it is renewed at 8 s, and so runs to 23 s. Another member waits for it from then on. */
    private static void renewed(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST, SHORT);
        c.send("kept");
        KafkaShareConsumer<String, String> holder = c.explicit();
        List<ConsumerRecord<String, String>> held = Case.poll(holder);
        c.say("acquired: %s", Case.show(held));
        Thread.sleep(8_000);
        held.forEach(r -> holder.acknowledge(r, AcknowledgeType.RENEW));
        c.say("renewed: %s", Case.commit(holder));
        List<ConsumerRecord<String, String>> renewed = Case.poll(holder); // the client has it at hand: nothing is fetched
        c.say("at hand: %s", Case.show(renewed));
        KafkaShareConsumer<String, String> other = c.explicit();
        long end = System.nanoTime() + 9_000_000_000L;
        int stolen = 0;
        while (System.nanoTime() < end) {
            stolen += other.poll(Duration.ofMillis(500)).count();
        }
        c.say("given to another meanwhile: %d", stolen);
        renewed.forEach(r -> holder.acknowledge(r, AcknowledgeType.ACCEPT));
        c.say("accepted after renewal: %s", Case.commit(holder));
        holder.close();
        c.send("end");
        c.say("then: %s", Case.show(Case.until(other, "end", true)));
    }

    private static void limit(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("poison");
        KafkaShareConsumer<String, String> m = c.explicit();
        for (int i = 0; i < 5; i++) {
            List<ConsumerRecord<String, String>> got = Case.poll(m);
            c.say("delivered: %s", Case.show(got));
            got.forEach(r -> m.acknowledge(r, AcknowledgeType.RELEASE));
            c.say("released: %s", Case.commit(m));
        }
        c.send("end");
        c.say("then: %s", Case.show(Case.until(m, "end", true)));
    }

    private static void closing(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send("accepted", "not acknowledged", "rejected", "not acknowledged either");
        KafkaShareConsumer<String, String> first = c.explicit();
        List<ConsumerRecord<String, String>> got = Case.poll(first);
        c.say("acquired: %s", Case.show(got));
        first.acknowledge(got.get(0), AcknowledgeType.ACCEPT);
        first.acknowledge(got.get(2), AcknowledgeType.REJECT);
        first.close();
        long closed = System.nanoTime();
        KafkaShareConsumer<String, String> second = c.explicit();
        List<ConsumerRecord<String, String>> left = new ArrayList<>();
        while (left.size() < 2) {
            List<ConsumerRecord<String, String>> more = Case.poll(second);
            more.forEach(r -> second.acknowledge(r, AcknowledgeType.ACCEPT));
            left.addAll(more);
        }
        c.note("released records were had %d ms after the close", (System.nanoTime() - closed) / 1_000_000);
        c.say("after close: %s", Case.show(left));
        c.send("end");
        c.say("then: %s", Case.show(Case.until(second, "end", true)));
    }

    private static void two(Case c) throws Exception {
        c.topic(1);
        c.settings(c.name, EARLIEST);
        c.send(Case.numbered("r", 0, 20));
        String[] few = {"share.acquire.mode=record_limit", "max.poll.records=5"};
        KafkaShareConsumer<String, String> a = c.explicit(few);
        KafkaShareConsumer<String, String> b = c.explicit(few);
        List<ConsumerRecord<String, String>> ofA = Case.poll(a);
        List<ConsumerRecord<String, String>> ofB = Case.poll(b);
        TreeSet<Long> both = new TreeSet<>();
        ofA.forEach(r -> both.add(r.offset()));
        ofB.forEach(r -> both.add(r.offset()));
        c.say("one has %s", Case.show(ofA));
        c.say("the other has %d, of both together %d are distinct", ofB.size(), both.size());
        ofA.forEach(r -> a.acknowledge(r, AcknowledgeType.ACCEPT));
        ofB.forEach(r -> b.acknowledge(r, AcknowledgeType.RELEASE));
        c.say("accepted: %s", Case.commit(a));
        c.say("released: %s", Case.commit(b));
        b.close();
        c.send("end");
        int again = 0;
        TreeSet<Long> rest = new TreeSet<>();
        for (ConsumerRecord<String, String> r : Case.until(a, "end", true)) {
            rest.add(r.offset());
            again += r.deliveryCount().orElse((short) 0) == 2 ? 1 : 0;
        }
        while (rest.size() < 16) {
            for (ConsumerRecord<String, String> r : a.poll(Duration.ofSeconds(1))) {
                rest.add(r.offset());
                a.acknowledge(r, AcknowledgeType.ACCEPT);
                again += r.deliveryCount().orElse((short) 0) == 2 ? 1 : 0;
            }
        }
        c.say("the rest: %d to %d, %d, %d of them again", rest.first(), rest.last(), rest.size(), again);
    }
}
