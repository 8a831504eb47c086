// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.
package com.responsa.client;

import com.google.longrunning.Operation;
import com.google.protobuf.Empty;
import com.responsa.knowledge.v1.ActivateGenerationRequest;
import com.responsa.knowledge.v1.BatchSearchRequest;
import com.responsa.knowledge.v1.BatchSearchResponse;
import com.responsa.knowledge.v1.Collection;
import com.responsa.knowledge.v1.CreateCollectionRequest;
import com.responsa.knowledge.v1.CreateDocumentRequest;
import com.responsa.knowledge.v1.DeleteCollectionRequest;
import com.responsa.knowledge.v1.DeleteDocumentRequest;
import com.responsa.knowledge.v1.DeleteGenerationRequest;
import com.responsa.knowledge.v1.Document;
import com.responsa.knowledge.v1.DocumentPage;
import com.responsa.knowledge.v1.EmbedTextsRequest;
import com.responsa.knowledge.v1.EmbedTextsResponse;
import com.responsa.knowledge.v1.GetCollectionRequest;
import com.responsa.knowledge.v1.GetDocumentContentRequest;
import com.responsa.knowledge.v1.GetDocumentContentResponse;
import com.responsa.knowledge.v1.GetDocumentOriginalRequest;
import com.responsa.knowledge.v1.GetDocumentOriginalResponse;
import com.responsa.knowledge.v1.GetDocumentPageRequest;
import com.responsa.knowledge.v1.GetDocumentRequest;
import com.responsa.knowledge.v1.GetPassageRequest;
import com.responsa.knowledge.v1.GetSubjectProfileRequest;
import com.responsa.knowledge.v1.ListCollectionsRequest;
import com.responsa.knowledge.v1.ListCollectionsResponse;
import com.responsa.knowledge.v1.ListDocumentVersionsRequest;
import com.responsa.knowledge.v1.ListDocumentVersionsResponse;
import com.responsa.knowledge.v1.ListDocumentsRequest;
import com.responsa.knowledge.v1.ListDocumentsResponse;
import com.responsa.knowledge.v1.ListFormatsRequest;
import com.responsa.knowledge.v1.ListFormatsResponse;
import com.responsa.knowledge.v1.ListGenerationsRequest;
import com.responsa.knowledge.v1.ListGenerationsResponse;
import com.responsa.knowledge.v1.Passage;
import com.responsa.knowledge.v1.ReindexCollectionRequest;
import com.responsa.knowledge.v1.ReindexDocumentRequest;
import com.responsa.knowledge.v1.RestoreDocumentVersionRequest;
import com.responsa.knowledge.v1.SearchRequest;
import com.responsa.knowledge.v1.SearchResponse;
import com.responsa.knowledge.v1.SubjectProfile;
import com.responsa.knowledge.v1.UpdateCollectionRequest;
import com.responsa.knowledge.v1.UpdateDocumentRequest;
import com.responsa.knowledge.v1.UploadDocumentRequest;
import com.responsa.knowledge.v1.WatchOperationRequest;
import com.responsa.knowledge.v1.WatchOperationResponse;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.time.Duration;
import java.util.Iterator;

/**
 * KnowledgeService stores the documents from which answers are made. Every call needs a credential. For another tenant's resource,
 * and for a resource that the caller may not read, the error is RESOURCE_NOT_FOUND, as for a resource that does not exist.
 */
public final class KnowledgeService {
    static final MethodDescriptor<CreateCollectionRequest, Collection> CREATE_COLLECTION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/CreateCollection",
            CreateCollectionRequest.getDefaultInstance(), Collection.getDefaultInstance());
    static final MethodDescriptor<GetCollectionRequest, Collection> GET_COLLECTION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/GetCollection",
            GetCollectionRequest.getDefaultInstance(), Collection.getDefaultInstance());
    static final MethodDescriptor<ListCollectionsRequest, ListCollectionsResponse> LIST_COLLECTIONS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ListCollections",
            ListCollectionsRequest.getDefaultInstance(), ListCollectionsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateCollectionRequest, Collection> UPDATE_COLLECTION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/UpdateCollection",
            UpdateCollectionRequest.getDefaultInstance(), Collection.getDefaultInstance());
    static final MethodDescriptor<DeleteCollectionRequest, Empty> DELETE_COLLECTION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/DeleteCollection",
            DeleteCollectionRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<ListGenerationsRequest, ListGenerationsResponse> LIST_GENERATIONS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ListGenerations",
            ListGenerationsRequest.getDefaultInstance(), ListGenerationsResponse.getDefaultInstance());
    static final MethodDescriptor<ReindexCollectionRequest, Operation> REINDEX_COLLECTION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ReindexCollection",
            ReindexCollectionRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<ActivateGenerationRequest, Operation> ACTIVATE_GENERATION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ActivateGeneration",
            ActivateGenerationRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<DeleteGenerationRequest, Empty> DELETE_GENERATION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/DeleteGeneration",
            DeleteGenerationRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<UploadDocumentRequest, Operation> UPLOAD_DOCUMENT = Calls.method(
            MethodType.CLIENT_STREAMING, "responsa.knowledge.v1.KnowledgeService/UploadDocument",
            UploadDocumentRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<CreateDocumentRequest, Operation> CREATE_DOCUMENT = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/CreateDocument",
            CreateDocumentRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<GetDocumentRequest, Document> GET_DOCUMENT = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/GetDocument",
            GetDocumentRequest.getDefaultInstance(), Document.getDefaultInstance());
    static final MethodDescriptor<ListDocumentsRequest, ListDocumentsResponse> LIST_DOCUMENTS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ListDocuments",
            ListDocumentsRequest.getDefaultInstance(), ListDocumentsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateDocumentRequest, Document> UPDATE_DOCUMENT = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/UpdateDocument",
            UpdateDocumentRequest.getDefaultInstance(), Document.getDefaultInstance());
    static final MethodDescriptor<DeleteDocumentRequest, Empty> DELETE_DOCUMENT = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/DeleteDocument",
            DeleteDocumentRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<GetDocumentContentRequest, GetDocumentContentResponse> GET_DOCUMENT_CONTENT = Calls.method(
            MethodType.SERVER_STREAMING, "responsa.knowledge.v1.KnowledgeService/GetDocumentContent",
            GetDocumentContentRequest.getDefaultInstance(), GetDocumentContentResponse.getDefaultInstance());
    static final MethodDescriptor<GetDocumentOriginalRequest, GetDocumentOriginalResponse> GET_DOCUMENT_ORIGINAL = Calls.method(
            MethodType.SERVER_STREAMING, "responsa.knowledge.v1.KnowledgeService/GetDocumentOriginal",
            GetDocumentOriginalRequest.getDefaultInstance(), GetDocumentOriginalResponse.getDefaultInstance());
    static final MethodDescriptor<GetDocumentPageRequest, DocumentPage> GET_DOCUMENT_PAGE = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/GetDocumentPage",
            GetDocumentPageRequest.getDefaultInstance(), DocumentPage.getDefaultInstance());
    static final MethodDescriptor<ListDocumentVersionsRequest, ListDocumentVersionsResponse> LIST_DOCUMENT_VERSIONS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ListDocumentVersions",
            ListDocumentVersionsRequest.getDefaultInstance(), ListDocumentVersionsResponse.getDefaultInstance());
    static final MethodDescriptor<RestoreDocumentVersionRequest, Operation> RESTORE_DOCUMENT_VERSION = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/RestoreDocumentVersion",
            RestoreDocumentVersionRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<ReindexDocumentRequest, Operation> REINDEX_DOCUMENT = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ReindexDocument",
            ReindexDocumentRequest.getDefaultInstance(), Operation.getDefaultInstance());
    static final MethodDescriptor<WatchOperationRequest, WatchOperationResponse> WATCH_OPERATION = Calls.method(
            MethodType.SERVER_STREAMING, "responsa.knowledge.v1.KnowledgeService/WatchOperation",
            WatchOperationRequest.getDefaultInstance(), WatchOperationResponse.getDefaultInstance());
    static final MethodDescriptor<GetPassageRequest, Passage> GET_PASSAGE = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/GetPassage",
            GetPassageRequest.getDefaultInstance(), Passage.getDefaultInstance());
    static final MethodDescriptor<GetSubjectProfileRequest, SubjectProfile> GET_SUBJECT_PROFILE = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/GetSubjectProfile",
            GetSubjectProfileRequest.getDefaultInstance(), SubjectProfile.getDefaultInstance());
    static final MethodDescriptor<ListFormatsRequest, ListFormatsResponse> LIST_FORMATS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/ListFormats",
            ListFormatsRequest.getDefaultInstance(), ListFormatsResponse.getDefaultInstance());
    static final MethodDescriptor<SearchRequest, SearchResponse> SEARCH = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/Search",
            SearchRequest.getDefaultInstance(), SearchResponse.getDefaultInstance());
    static final MethodDescriptor<BatchSearchRequest, BatchSearchResponse> BATCH_SEARCH = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/BatchSearch",
            BatchSearchRequest.getDefaultInstance(), BatchSearchResponse.getDefaultInstance());
    static final MethodDescriptor<EmbedTextsRequest, EmbedTextsResponse> EMBED_TEXTS = Calls.method(
            MethodType.UNARY, "responsa.knowledge.v1.KnowledgeService/EmbedTexts",
            EmbedTextsRequest.getDefaultInstance(), EmbedTextsResponse.getDefaultInstance());

    private final Calls calls;
    private final Duration timeout;

    KnowledgeService(Calls calls, Duration timeout) {
        this.calls = calls;
        this.timeout = timeout;
    }

    /** The same calls, with this time for each instead of the client's. */
    public KnowledgeService withDeadlineAfter(Duration timeout) {
        return new KnowledgeService(calls, timeout);
    }

    /**
     * CreateCollection creates an empty collection that belongs to the caller. It is private unless the request names readers.
     *
     * <p>Errors: RESOURCE_ALREADY_EXISTS (the caller has a collection with this id, or the conversation has one for its files),
     * RESOURCE_NOT_FOUND (the conversation), REQUEST_ID_REUSED, INVALID_FIELD (also for a reader that is not a user of the tenant),
     * LIMIT_REACHED (collections).
     */
    public Collection createCollection(CreateCollectionRequest request) {
        return calls.unary(CREATE_COLLECTION, request, true, timeout);
    }

    /**
     * GetCollection returns one collection.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Collection getCollection(GetCollectionRequest request) {
        return calls.unary(GET_COLLECTION, request, true, timeout);
    }

    /**
     * ListCollections lists the collections that the caller may read, ordered by name by default. Administrators also get the
     * collections that they may not read.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListCollectionsResponse listCollections(ListCollectionsRequest request) {
        return calls.unary(LIST_COLLECTIONS, request, true, timeout);
    }

    /**
     * UpdateCollection changes the fields that update_mask names (display_name, synonyms, readers, suggested_questions). The
     * collection's owner and administrators may call this method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, ROLE_REQUIRED, INVALID_FIELD (synonyms with mistakes: one
     * violation for each of the first 16 lines; a reader that is not a user of the tenant).
     */
    public Collection updateCollection(UpdateCollectionRequest request) {
        return calls.unary(UPDATE_COLLECTION, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteCollection deletes a collection. With {@code force}, it also deletes the collection's documents, passages and vectors, in
     * one transaction. The collection's owner and administrators may call this method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, COLLECTION_NOT_EMPTY, ETAG_MISMATCH, ROLE_REQUIRED, SIGN_IN_REQUIRED (the collection belongs to
     * another user, and the caller is an administrator whose session began more than ten minutes ago).
     */
    public void deleteCollection(DeleteCollectionRequest request) {
        calls.unary(DELETE_COLLECTION, request, false, timeout);
    }

    /**
     * ListGenerations lists the generations of a collection, the newest first, on one page.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public ListGenerationsResponse listGenerations(ListGenerationsRequest request) {
        return calls.unary(LIST_GENERATIONS, request, true, timeout);
    }

    /**
     * ReindexCollection builds another generation of a collection: it computes the vectors of all passages with another embedding model,
     * while searches use the active generation. Documents may be added, changed and deleted meanwhile. When the new generation has the
     * vectors of all passages, it becomes active in one transaction. If the operation fails or is cancelled, the active generation stays
     * active, and the vectors of the new one are deleted. The collection's owner and administrators may call this method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, EMBEDDING_UNKNOWN, REINDEX_RUNNING, REQUEST_ID_REUSED, GENERATION_STATE (the
     * collection has 8 generations), PART_UNAVAILABLE (the server could not get the length of the vectors from the embedding model),
     * EMBEDDING_FAILED (the server could not get the length of the vectors from the embedding model).
     */
    public Operation reindexCollection(ReindexCollectionRequest request) {
        return calls.unary(REINDEX_COLLECTION, request, true, timeout);
    }

    /**
     * ActivateGeneration makes a READY or RETIRED generation active. First, it computes the vectors of the passages that the generation
     * lacks, while searches use the active generation. If the generation is already active, the call returns an operation that has
     * ended. If the operation fails or is cancelled, the generation returns to its former state. The collection's owner and
     * administrators may call this method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, EMBEDDING_UNKNOWN, REINDEX_RUNNING, REQUEST_ID_REUSED, GENERATION_STATE (the
     * generation is FAILED).
     */
    public Operation activateGeneration(ActivateGenerationRequest request) {
        return calls.unary(ACTIVATE_GENERATION, request, true, timeout);
    }

    /**
     * DeleteGeneration deletes a generation with its vectors. The collection's owner and administrators may call this method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, GENERATION_STATE (the generation is ACTIVE or BUILDING).
     */
    public void deleteGeneration(DeleteGenerationRequest request) {
        calls.unary(DELETE_GENERATION, request, false, timeout);
    }

    /**
     * CreateDocument stores and indexes the request's text, at most 1 MiB. The operation and the errors are the same as for
     * UploadDocument.
     */
    public Operation createDocument(CreateDocumentRequest request) {
        return calls.unary(CREATE_DOCUMENT, request, true, timeout);
    }

    /**
     * GetDocument returns one document.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Document getDocument(GetDocumentRequest request) {
        return calls.unary(GET_DOCUMENT, request, true, timeout);
    }

    /**
     * ListDocuments lists a collection's documents, ordered by source_key by default. A file of which no version could be read is listed
     * for the user who uploaded it alone.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListDocumentsResponse listDocuments(ListDocumentsRequest request) {
        return calls.unary(LIST_DOCUMENTS, request, true, timeout);
    }

    /**
     * UpdateDocument changes the fields that update_mask names (title, labels, metadata, subject). New labels, metadata and subjects
     * apply at once. A new title makes a new version of the same bytes, because searches use the title too. The call returns the
     * document with the new title in the state INDEXING. When the document is READY, searches and citations use the title. A later
     * upload keeps the title unless the upload states a title. The document's uploader, the collection's owner and administrators may
     * call this method. An administrator who may not read the document gets it without the fields that describe its content.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, ROLE_REQUIRED, INVALID_FIELD, LIMIT_REACHED (stored bytes, for
     * a new title).
     */
    public Document updateDocument(UpdateDocumentRequest request) {
        return calls.unary(UPDATE_DOCUMENT, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteDocument deletes a document with all its versions, passages and vectors, in one transaction. No later answer uses the
     * document. Earlier answers keep their quotes. The document's uploader, the collection's owner and administrators may call this
     * method.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED, SIGN_IN_REQUIRED (the document belongs to another user, and the
     * caller is an administrator whose session began more than ten minutes ago).
     */
    public void deleteDocument(DeleteDocumentRequest request) {
        calls.unary(DELETE_DOCUMENT, request, false, timeout);
    }

    /**
     * GetDocumentContent streams the canonical text of a document's current version, or of the version that the request names, from its
     * beginning or from {@code read_offset}. The pieces arrive in order, have at most 64 KiB each, and begin and end at character
     * boundaries. The ranges of citations are positions in this text. To read only a part, cancel the call when the part has arrived.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, READ_OFFSET_BEYOND_END.
     */
    public Iterator<GetDocumentContentResponse> getDocumentContent(GetDocumentContentRequest request) {
        return calls.stream(GET_DOCUMENT_CONTENT, request, timeout);
    }

    /**
     * GetDocumentOriginal streams the bytes of a document as they were uploaded. The request may name a version. If the request names no
     * version, the call returns the searchable version. If no version is searchable yet, the call returns the newest version. The pieces
     * arrive in order and have at most 256 KiB each. Browsers and curl get the bytes themselves, as a download, from GET
     * /v1/documents/{uuid}/original and GET /v1/documents/{uuid}/versions/{n}/original.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Iterator<GetDocumentOriginalResponse> getDocumentOriginal(GetDocumentOriginalRequest request) {
        return calls.stream(GET_DOCUMENT_ORIGINAL, request, timeout);
    }

    /**
     * GetDocumentPage returns one page of a PDF as an image. The server renders the page in its sandbox, so that no client has to open
     * the PDF. Citation.boxes and Passage.boxes are positions on this image.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGES_UNSUPPORTED (the document is not a PDF), PAGE_OUT_OF_RANGE, DOCUMENT_MALFORMED,
     * DOCUMENT_PARSER_LIMIT (rendering the page needs too much memory or time), OVERLOADED, PART_UNAVAILABLE.
     */
    public DocumentPage getDocumentPage(GetDocumentPageRequest request) {
        return calls.unary(GET_DOCUMENT_PAGE, request, true, timeout);
    }

    /**
     * ListDocumentVersions lists the stored versions of a document, the newest first. The server keeps a number of older versions (the
     * setting ingestion.kept_versions) and every version that an answer cites.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
     */
    public ListDocumentVersionsResponse listDocumentVersions(ListDocumentVersionsRequest request) {
        return calls.unary(LIST_DOCUMENT_VERSIONS, request, true, timeout);
    }

    /**
     * RestoreDocumentVersion makes a new version from an older version's bytes and description. The present parser reads the text again.
     * If the version is the newest one and searchable, nothing changes. The operation and the permissions are the same as for
     * UploadDocument.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also for a version that is being indexed), ETAG_MISMATCH, ROLE_REQUIRED, REQUEST_ID_REUSED,
     * LIMIT_REACHED (stored bytes).
     */
    public Operation restoreDocumentVersion(RestoreDocumentVersionRequest request) {
        return calls.unary(RESTORE_DOCUMENT_VERSION, request, true, timeout);
    }

    /**
     * ReindexDocument reads the original of the searchable version again with the present parser. If the parser makes another text, or
     * is another version than the one that read it, or if another version of the rules cuts the text into passages, that becomes a new
     * version; citations of the old version stay valid as for any older version. Otherwise, nothing changes. If a version is being
     * indexed, the response is its running operation. The operation and the permissions are the same as for UploadDocument.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED, REQUEST_ID_REUSED, ORIGINAL_NOT_STORED (no version of the document
     * could be read).
     */
    public Operation reindexDocument(ReindexDocumentRequest request) {
        return calls.unary(REINDEX_DOCUMENT, request, true, timeout);
    }

    /**
     * WatchOperation streams the states of an operation until the operation has ended. Every stored change of an operation has a greater
     * seq than the change before it. If the newest state has a seq greater than {@code after_seq}, this state is the first frame. Later
     * frames have later states, each with a greater seq. States that follow each other quickly may be merged into the newest one. The
     * final state ({@code done}) is never lost: it is the last frame, and then the stream ends. If {@code after_seq} is the seq of the
     * final state, the caller already has this state, and the stream sends nothing. While there is no new state, the stream sends a
     * heartbeat every 15 seconds (by default). A heartbeat is a frame without {@code operation}. A stream that ends without the final
     * state was cut: continue with the seq of the last frame, on any server. The operation continues in any case. All members of the
     * tenant may call this method. Over REST, each frame is a line of JSON (NDJSON).
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_NOT_FOUND, AFTER_SEQ_BEYOND_END, DRAINING.
     */
    public Iterator<WatchOperationResponse> watchOperation(WatchOperationRequest request) {
        return calls.stream(WATCH_OPERATION, request, timeout);
    }

    /**
     * GetPassage returns one passage; with a turn of the caller, also what to show of it for that turn's question. A passage of an older
     * version is kept as long as an answer cites it. A connected program needs the scope {@code ask} to name a turn, and {@code search}
     * otherwise.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also a turn that is not the caller's, and a passage that is none of its excerpts), SOURCE_CHANGED,
     * SOURCE_DELETED (both only with a turn), SCOPE_REQUIRED, PART_UNAVAILABLE.
     */
    public Passage getPassage(GetPassageRequest request) {
        return calls.unary(GET_PASSAGE, request, true, timeout);
    }

    /**
     * GetSubjectProfile returns what Responsa holds about a person: the documents with this subject, by source and kind. Documents that
     * the caller may not read are left out. The subject, administrators and SERVICE keys may make this call.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (no user and no document has this subject, or the caller may not ask about it).
     */
    public SubjectProfile getSubjectProfile(GetSubjectProfileRequest request) {
        return calls.unary(GET_SUBJECT_PROFILE, request, true, timeout);
    }

    /**
     * ListFormats lists the document formats that the server reads, on one page and always in the same order. UploadDocument and
     * CreateDocument refuse a document of any other format with DOCUMENT_TYPE_UNSUPPORTED.
     */
    public ListFormatsResponse listFormats(ListFormatsRequest request) {
        return calls.unary(LIST_FORMATS, request, true, timeout);
    }

    /**
     * Search returns the passages that match the terms best. The best passage comes first.
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (a collection of the scope), LIMIT_REACHED (the user has too many searches at a
     * time), OVERLOADED, PART_UNAVAILABLE.
     */
    public SearchResponse search(SearchRequest request) {
        return calls.unary(SEARCH, request, true, timeout);
    }

    /**
     * BatchSearch makes 1 to 64 searches in one call. The responses are in the order of the requests, and each is what Search would
     * return. If one of the searches fails, the call fails and returns nothing. All searches together may ask for at most 640 passages.
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (a collection of a scope), LIMIT_REACHED (the user has too many searches at a time),
     * OVERLOADED, PART_UNAVAILABLE.
     */
    public BatchSearchResponse batchSearch(BatchSearchRequest request) {
        return calls.unary(BATCH_SEARCH, request, true, timeout);
    }

    /**
     * EmbedTexts computes the vectors of texts with one of the installation's embedding models. Nothing is stored. A text that is longer
     * than the model reads is cut.
     *
     * <p>Errors: INVALID_FIELD, EMBEDDING_UNKNOWN, EMBEDDING_FAILED, RATE_LIMIT (tokens in a minute), LIMIT_REACHED (the user has too
     * many of these calls at a time), OVERLOADED, PART_UNAVAILABLE.
     */
    public EmbedTextsResponse embedTexts(EmbedTextsRequest request) {
        return calls.unary(EMBED_TEXTS, request, true, timeout);
    }
}
