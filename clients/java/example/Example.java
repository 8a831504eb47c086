import com.google.protobuf.ByteString;
import com.responsa.chat.v1.AskRequest;
import com.responsa.client.ResponsaClient;
import com.responsa.client.ResponsaException;
import com.responsa.knowledge.v1.DocumentMetadata;
import com.responsa.knowledge.v1.IngestResult;
import com.responsa.knowledge.v1.SearchRequest;

/**
 * Loads a document, searches it, and asks about it.
 *
 * <p>Usage, after mvn compile: RESPONSA_URL=http://127.0.0.1:8080 RESPONSA_API_KEY=… java @../../build/clients/java/client.args example/Example.java
 */
public final class Example {
    private static final String NOTES = "# The office\n\nThe key of the bicycle shed hangs behind the green door.\n";

    public static void main(String[] arguments) {
        var builder = ResponsaClient.builder().url(System.getenv("RESPONSA_URL")).apiKey(System.getenv("RESPONSA_API_KEY"));
        try (var client = builder.build()) {
            var operation = client.upload(ByteString.copyFromUtf8(NOTES), DocumentMetadata.newBuilder().setSourceKey("office.md").build());
            client.await(operation, IngestResult.class);
            var found = client.knowledge().search(SearchRequest.newBuilder().addTerms("bicycle shed").build());
            for (var hit : found.getHitsList()) {
                System.out.printf("%.2f %s%n", hit.getScore(), hit.getPassage().getTitle());
            }
            var question = AskRequest.newBuilder().setText("Where does the key of the bicycle shed hang?").setIncludeDeltas(true);
            try (var stream = client.ask(question.build())) {
                for (var event : stream) {
                    System.out.print(event.getDelta().getText());
                }
                System.out.println();
                for (var citation : stream.citations()) {
                    System.out.println(citation.getTitle() + " " + citation.getQuote());
                }
                ResponsaException.ofTurn(stream.terminal()).ifPresent(failed -> {
                    throw failed;
                });
            }
        } catch (ResponsaException e) {
            System.err.println(e.getMessage() + " " + e.remedy());
            System.exit(1);
        }
    }
}
