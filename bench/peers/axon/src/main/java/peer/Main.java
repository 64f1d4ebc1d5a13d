package peer;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.fasterxml.jackson.annotation.PropertyAccessor;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import org.axonframework.commandhandling.CommandHandler;
import org.axonframework.commandhandling.SimpleCommandBus;
import org.axonframework.commandhandling.gateway.CommandGateway;
import org.axonframework.common.jdbc.DataSourceConnectionProvider;
import org.axonframework.common.jdbc.UnitOfWorkAwareConnectionProviderWrapper;
import org.axonframework.common.transaction.NoTransactionManager;
import org.axonframework.config.AggregateConfigurer;
import org.axonframework.config.Configuration;
import org.axonframework.config.DefaultConfigurer;
import org.axonframework.eventsourcing.EventSourcingHandler;
import org.axonframework.eventsourcing.eventstore.EmbeddedEventStore;
import org.axonframework.eventsourcing.eventstore.jdbc.JdbcEventStorageEngine;
import org.axonframework.eventsourcing.eventstore.jdbc.PostgresEventTableFactory;
import org.axonframework.modelling.command.AggregateIdentifier;
import org.axonframework.modelling.command.TargetAggregateIdentifier;
import org.axonframework.serialization.json.JacksonSerializer;

import java.math.BigDecimal;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import static org.axonframework.modelling.command.AggregateLifecycle.apply;

/**
 * Places orders through Axon. The environment says where: AXON_URL (JDBC), AXON_USER, AXON_PASSWORD. Each line of standard
 * input, "callers seconds", is one run, answered by a line "commands seconds"; the program ends with its input.
 */
public class Main {
    // -- the same event as bench.load.place_order makes
    public record OrderCreated(String account, String orderId, String strategyId, String symbol, String side, String orderType,
                               BigDecimal quantity, BigDecimal limitPrice, String timeInForce, Instant occurredAt) {}
    public record AccountOpened(String account) {}

    public record OpenAccount(@TargetAggregateIdentifier String account) {}
    public record PlaceOrder(@TargetAggregateIdentifier String account, String orderId, String strategyId, String symbol, String side,
                             String orderType, BigDecimal quantity, BigDecimal limitPrice, String timeInForce) {}

    /** An aggregate per account, as in Foldbook, kept in a cache. */
    public static class AccountAggregate {
        @AggregateIdentifier private String account;
        private final Map<String, BigDecimal> orders = new HashMap<>();
        protected AccountAggregate() {}
        @CommandHandler public AccountAggregate(OpenAccount c) { apply(new AccountOpened(c.account())); }
        @CommandHandler
        public void handle(PlaceOrder c) {
            if (orders.containsKey(c.orderId())) throw new IllegalArgumentException("used");
            if (c.quantity().signum() <= 0 || c.limitPrice().signum() <= 0) throw new IllegalArgumentException("quantity");
            apply(new OrderCreated(account, c.orderId(), c.strategyId(), c.symbol(), c.side(), c.orderType(),
                    c.quantity(), c.limitPrice(), c.timeInForce(), Instant.now()));
        }
        @EventSourcingHandler void on(AccountOpened e) { account = e.account(); }
        @EventSourcingHandler void on(OrderCreated e) { orders.put(e.orderId(), e.quantity()); }
    }

    static final String[] SYMBOLS = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "XRPUSDT", "LTCUSDT", "DOTUSDT"};
    static final String[] STRATEGIES = {"trend", "reversion", "carry"};

    static final int CALLERS_MAX = 32;
    static final int WARM_UP_MS = 400;

    public static void main(String[] arguments) throws Exception {
        String url = System.getenv("AXON_URL"), user = System.getenv("AXON_USER"), password = System.getenv("AXON_PASSWORD");
        HikariConfig hc = new HikariConfig();
        hc.setJdbcUrl(url); hc.setUsername(user); hc.setPassword(password);
        hc.setAutoCommit(false); hc.setMaximumPoolSize(CALLERS_MAX + 2);
        hc.addDataSourceProperty("reWriteBatchedInserts", "true");
        hc.addDataSourceProperty("prepareThreshold", "1");
        HikariDataSource ds = new HikariDataSource(hc);
        var connections = new UnitOfWorkAwareConnectionProviderWrapper(new DataSourceConnectionProvider(ds));
        ObjectMapper mapper = new ObjectMapper().findAndRegisterModules();
        mapper.setVisibility(PropertyAccessor.FIELD, JsonAutoDetect.Visibility.ANY);
        JacksonSerializer serializer = JacksonSerializer.builder().objectMapper(mapper).build();
        JdbcEventStorageEngine engine = JdbcEventStorageEngine.builder()
                .eventSerializer(serializer).snapshotSerializer(serializer)
                .connectionProvider(connections).transactionManager(NoTransactionManager.INSTANCE).build();
        try (var c = ds.getConnection()) {
            boolean exists;
            try (var rs = c.getMetaData().getTables(null, null, "domainevententry", null)) { exists = rs.next(); }
            c.commit();
            if (!exists) {
                var plain = new org.postgresql.ds.PGSimpleDataSource();
                plain.setUrl(url); plain.setUser(user); plain.setPassword(password);
                JdbcEventStorageEngine.builder().eventSerializer(serializer).snapshotSerializer(serializer)
                    .connectionProvider(new DataSourceConnectionProvider(plain)).transactionManager(NoTransactionManager.INSTANCE)
                    .build().createSchema(PostgresEventTableFactory.INSTANCE);
            }
        }
        Configuration configuration = DefaultConfigurer.defaultConfiguration()
                .configureEmbeddedEventStore(c -> engine)
                .configureCommandBus(c -> SimpleCommandBus.builder().build())
                .configureAggregate(AggregateConfigurer.defaultConfiguration(AccountAggregate.class)
                        .configureCache(c -> new StrongCache()))
                .buildConfiguration();
        configuration.start();
        CommandGateway gateway = configuration.commandGateway();
        var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        System.out.println("ready"); System.out.flush();
        for (String line; (line = in.readLine()) != null; ) {
            String[] w = line.trim().split(" ");
            System.out.println(run(gateway, Integer.parseInt(w[0]), Double.parseDouble(w[1]))); System.out.flush();
        }
        configuration.shutdown(); ds.close(); System.exit(0);
    }

    static String run(CommandGateway gateway, int callers, double seconds) throws Exception {
        String tag = Long.toHexString(System.nanoTime());
        int accounts = 100;
        String[] names = new String[accounts];
        for (int i = 0; i < accounts; i++) {
            names[i] = "axon" + tag + "-" + i + "/binance/simulated";
            gateway.sendAndWait(new OpenAccount(names[i]));
        }
        AtomicBoolean over = new AtomicBoolean();
        AtomicLong done = new AtomicLong();
        List<Thread> threads = new ArrayList<>();
        List<Throwable> errors = new ArrayList<>();
        for (int t = 0; t < callers; t++) {
            final int me = t;
            Thread th = new Thread(() -> {
                try {
                    for (int n = 0; !over.get(); n++) {
                        String account = names[(me + n * callers) % accounts];  // no two callers at one account
                        String id = "o-" + tag + "-" + me + "-" + n;
                        BigDecimal px = new BigDecimal("642" + (10 + n % 50) + "." + (n % 10));
                        gateway.sendAndWait(new PlaceOrder(account, id, STRATEGIES[n % 3], SYMBOLS[n % 7],
                                n % 2 == 0 ? "BUY" : "SELL", "LIMIT", BigDecimal.valueOf(2), px, "GTC"));
                        done.incrementAndGet();
                    }
                } catch (Throwable e) { synchronized (errors) { errors.add(e); } over.set(true); }
            });
            threads.add(th); th.start();
        }
        Thread.sleep(WARM_UP_MS);
        long first = done.get(), began = System.nanoTime();
        Thread.sleep((long) (seconds * 1000));
        long count = done.get() - first;
        double took = (System.nanoTime() - began) / 1e9;
        over.set(true);
        for (Thread th : threads) th.join();
        if (!errors.isEmpty()) { errors.get(0).printStackTrace(); System.exit(1); }
        return count + " " + took;
    }
}
