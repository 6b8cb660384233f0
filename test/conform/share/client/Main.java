import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

import org.apache.kafka.clients.admin.Admin;

/**
 * Runs the cases of a KafkaShareConsumer beside each other and prints their transcript, in the order of the list:
 * Main BOOTSTRAP [CASE...]. Ends with 1 if one of them could not be run to its end.
 */
public final class Main {
    interface Script {
        void play(Case c) throws Exception;
    }

    /** Cases that wait for locks to run out come first to run, so that the others fill the time. */
    private static final int AT_ONCE = 8;

    public static void main(String[] args) throws Exception {
        Map<String, Script> scripts = new LinkedHashMap<>();
        Locks.add(scripts);
        Acknowledging.add(scripts);
        Reading.add(scripts);
        if (args.length > 1) {
            scripts.keySet().retainAll(List.of(args).subList(1, args.length));
        }
        boolean ok = true;
        ExecutorService pool = Executors.newFixedThreadPool(AT_ONCE);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            Map<String, Future<String>> parts = new LinkedHashMap<>();
            scripts.forEach((name, script) -> parts.put(name, pool.submit(() -> play(name, script, args[0], admin))));
            for (Map.Entry<String, Future<String>> part : parts.entrySet()) {
                String said = part.getValue().get();
                ok &= !said.contains("FAILED");
                System.out.print("== " + part.getKey() + "\n" + said);
            }
            play("first-poll", Reading::first, args[0], admin);
        }
        pool.shutdown();
        System.exit(ok ? 0 : 1);
    }

    private static String play(String name, Script script, String bootstrap, Admin admin) {
        long began = System.nanoTime();
        Case c = new Case(name, bootstrap, admin);
        try (c) {
            script.play(c);
        } catch (Throwable e) {
            c.say("FAILED %s", e);
            e.printStackTrace();
        }
        c.note("%d ms", (System.nanoTime() - began) / 1_000_000);
        return c.said();
    }
}
