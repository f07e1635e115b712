import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** The sample application: it tells its version, which is a file in its jar. */
public final class Storefront {
    public static void main(String[] arguments) throws IOException {
        String version;
        try (var file = Storefront.class.getResourceAsStream("/VERSION")) {
            version = new String(file.readAllBytes(), StandardCharsets.UTF_8).strip();
        }
        byte[] page = ("storefront " + version + "\n").getBytes(StandardCharsets.UTF_8);
        var server = HttpServer.create(new InetSocketAddress(8080), 64);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, page.length);
            try (var body = exchange.getResponseBody()) {
                body.write(page);
            }
        });
        server.start();
    }
}
