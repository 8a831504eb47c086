// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.
package com.responsa.client;

import com.google.protobuf.Empty;
import com.responsa.chat.v1.Agent;
import com.responsa.chat.v1.AnswerRequest;
import com.responsa.chat.v1.AskRequest;
import com.responsa.chat.v1.AskResponse;
import com.responsa.chat.v1.CancelTurnRequest;
import com.responsa.chat.v1.Conversation;
import com.responsa.chat.v1.CreateConversationRequest;
import com.responsa.chat.v1.DeleteConversationRequest;
import com.responsa.chat.v1.Feedback;
import com.responsa.chat.v1.GenerateTextRequest;
import com.responsa.chat.v1.GenerateTextResponse;
import com.responsa.chat.v1.GetAgentRequest;
import com.responsa.chat.v1.GetConversationRequest;
import com.responsa.chat.v1.GetFeedbackRequest;
import com.responsa.chat.v1.GetMessageRequest;
import com.responsa.chat.v1.GetShareRequest;
import com.responsa.chat.v1.GetToolRequest;
import com.responsa.chat.v1.GetTurnRequest;
import com.responsa.chat.v1.ListAgentsRequest;
import com.responsa.chat.v1.ListAgentsResponse;
import com.responsa.chat.v1.ListConversationsRequest;
import com.responsa.chat.v1.ListConversationsResponse;
import com.responsa.chat.v1.ListMessagesRequest;
import com.responsa.chat.v1.ListMessagesResponse;
import com.responsa.chat.v1.ListSharesRequest;
import com.responsa.chat.v1.ListSharesResponse;
import com.responsa.chat.v1.ListToolsRequest;
import com.responsa.chat.v1.ListToolsResponse;
import com.responsa.chat.v1.ListTurnsRequest;
import com.responsa.chat.v1.ListTurnsResponse;
import com.responsa.chat.v1.Message;
import com.responsa.chat.v1.ResumeTurnRequest;
import com.responsa.chat.v1.ResumeTurnResponse;
import com.responsa.chat.v1.RevokeShareRequest;
import com.responsa.chat.v1.SearchConversationsRequest;
import com.responsa.chat.v1.SearchConversationsResponse;
import com.responsa.chat.v1.Share;
import com.responsa.chat.v1.ShareTurnRequest;
import com.responsa.chat.v1.StartTurnRequest;
import com.responsa.chat.v1.SubmitFeedbackRequest;
import com.responsa.chat.v1.Tool;
import com.responsa.chat.v1.Turn;
import com.responsa.chat.v1.UpdateConversationRequest;
import com.responsa.chat.v1.VerifyCitationsRequest;
import com.responsa.chat.v1.VerifyCitationsResponse;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.time.Duration;

/**
 * ChatService answers questions. Every call needs a credential and reaches only the caller's own resources. For another user's
 * resource, the error is RESOURCE_NOT_FOUND, as for a resource that does not exist.
 */
public final class ChatService {
    static final MethodDescriptor<AskRequest, AskResponse> ASK = Calls.method(
            MethodType.SERVER_STREAMING, "responsa.chat.v1.ChatService/Ask",
            AskRequest.getDefaultInstance(), AskResponse.getDefaultInstance());
    static final MethodDescriptor<StartTurnRequest, Turn> START_TURN = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/StartTurn",
            StartTurnRequest.getDefaultInstance(), Turn.getDefaultInstance());
    static final MethodDescriptor<AnswerRequest, Turn> ANSWER = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/Answer",
            AnswerRequest.getDefaultInstance(), Turn.getDefaultInstance());
    static final MethodDescriptor<GenerateTextRequest, GenerateTextResponse> GENERATE_TEXT = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GenerateText",
            GenerateTextRequest.getDefaultInstance(), GenerateTextResponse.getDefaultInstance());
    static final MethodDescriptor<ResumeTurnRequest, ResumeTurnResponse> RESUME_TURN = Calls.method(
            MethodType.SERVER_STREAMING, "responsa.chat.v1.ChatService/ResumeTurn",
            ResumeTurnRequest.getDefaultInstance(), ResumeTurnResponse.getDefaultInstance());
    static final MethodDescriptor<CancelTurnRequest, Turn> CANCEL_TURN = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/CancelTurn",
            CancelTurnRequest.getDefaultInstance(), Turn.getDefaultInstance());
    static final MethodDescriptor<GetTurnRequest, Turn> GET_TURN = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetTurn",
            GetTurnRequest.getDefaultInstance(), Turn.getDefaultInstance());
    static final MethodDescriptor<ListTurnsRequest, ListTurnsResponse> LIST_TURNS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListTurns",
            ListTurnsRequest.getDefaultInstance(), ListTurnsResponse.getDefaultInstance());
    static final MethodDescriptor<CreateConversationRequest, Conversation> CREATE_CONVERSATION = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/CreateConversation",
            CreateConversationRequest.getDefaultInstance(), Conversation.getDefaultInstance());
    static final MethodDescriptor<GetConversationRequest, Conversation> GET_CONVERSATION = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetConversation",
            GetConversationRequest.getDefaultInstance(), Conversation.getDefaultInstance());
    static final MethodDescriptor<ListConversationsRequest, ListConversationsResponse> LIST_CONVERSATIONS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListConversations",
            ListConversationsRequest.getDefaultInstance(), ListConversationsResponse.getDefaultInstance());
    static final MethodDescriptor<SearchConversationsRequest, SearchConversationsResponse> SEARCH_CONVERSATIONS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/SearchConversations",
            SearchConversationsRequest.getDefaultInstance(), SearchConversationsResponse.getDefaultInstance());
    static final MethodDescriptor<UpdateConversationRequest, Conversation> UPDATE_CONVERSATION = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/UpdateConversation",
            UpdateConversationRequest.getDefaultInstance(), Conversation.getDefaultInstance());
    static final MethodDescriptor<DeleteConversationRequest, Empty> DELETE_CONVERSATION = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/DeleteConversation",
            DeleteConversationRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<ListMessagesRequest, ListMessagesResponse> LIST_MESSAGES = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListMessages",
            ListMessagesRequest.getDefaultInstance(), ListMessagesResponse.getDefaultInstance());
    static final MethodDescriptor<GetMessageRequest, Message> GET_MESSAGE = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetMessage",
            GetMessageRequest.getDefaultInstance(), Message.getDefaultInstance());
    static final MethodDescriptor<SubmitFeedbackRequest, Feedback> SUBMIT_FEEDBACK = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/SubmitFeedback",
            SubmitFeedbackRequest.getDefaultInstance(), Feedback.getDefaultInstance());
    static final MethodDescriptor<GetFeedbackRequest, Feedback> GET_FEEDBACK = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetFeedback",
            GetFeedbackRequest.getDefaultInstance(), Feedback.getDefaultInstance());
    static final MethodDescriptor<VerifyCitationsRequest, VerifyCitationsResponse> VERIFY_CITATIONS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/VerifyCitations",
            VerifyCitationsRequest.getDefaultInstance(), VerifyCitationsResponse.getDefaultInstance());
    static final MethodDescriptor<ShareTurnRequest, Share> SHARE_TURN = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ShareTurn",
            ShareTurnRequest.getDefaultInstance(), Share.getDefaultInstance());
    static final MethodDescriptor<GetShareRequest, Share> GET_SHARE = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetShare",
            GetShareRequest.getDefaultInstance(), Share.getDefaultInstance());
    static final MethodDescriptor<ListSharesRequest, ListSharesResponse> LIST_SHARES = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListShares",
            ListSharesRequest.getDefaultInstance(), ListSharesResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeShareRequest, Empty> REVOKE_SHARE = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/RevokeShare",
            RevokeShareRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<ListAgentsRequest, ListAgentsResponse> LIST_AGENTS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListAgents",
            ListAgentsRequest.getDefaultInstance(), ListAgentsResponse.getDefaultInstance());
    static final MethodDescriptor<GetAgentRequest, Agent> GET_AGENT = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetAgent",
            GetAgentRequest.getDefaultInstance(), Agent.getDefaultInstance());
    static final MethodDescriptor<ListToolsRequest, ListToolsResponse> LIST_TOOLS = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/ListTools",
            ListToolsRequest.getDefaultInstance(), ListToolsResponse.getDefaultInstance());
    static final MethodDescriptor<GetToolRequest, Tool> GET_TOOL = Calls.method(
            MethodType.UNARY, "responsa.chat.v1.ChatService/GetTool",
            GetToolRequest.getDefaultInstance(), Tool.getDefaultInstance());

    private final Calls calls;
    private final Duration timeout;

    ChatService(Calls calls, Duration timeout) {
        this.calls = calls;
        this.timeout = timeout;
    }

    /** The same calls, with this time for each instead of the client's. */
    public ChatService withDeadlineAfter(Duration timeout) {
        return new ChatService(calls, timeout);
    }

    /**
     * StartTurn is Ask without a stream: it returns the turn as soon as the server has accepted the turn. The call fails with the same
     * errors as Ask before it accepts a turn.
     */
    public Turn startTurn(StartTurnRequest request) {
        return calls.unary(START_TURN, request, true, timeout);
    }

    /**
     * Answer is Ask without a stream: it waits until the turn has ended, and returns the turn with its terminal event. A failed turn is
     * returned like any other turn. If the caller's deadline passes first (DEADLINE_EXCEEDED), the turn continues; call again with the
     * same request_id. All other errors are those of Ask before it accepts a turn.
     */
    public Turn answer(AnswerRequest request) {
        return calls.unary(ANSWER, request, true, timeout);
    }

    /**
     * GenerateText asks the agent's language model alone, for programs' own chores such as the title of a chat. It searches no
     * documents, and stores neither the messages nor the text. What the model uses counts towards the caller's quota, and the call
     * towards a limit of its own ({@code limits.generations_per_minute}), and not towards the messages a minute.
     *
     * <p>Errors: INVALID_FIELD (also for {@code json_schema}, if the agent writes no JSON), RESOURCE_NOT_FOUND (the agent),
     * AGENT_WITHOUT_MODEL, MODEL_UNAVAILABLE, RATE_LIMIT, QUOTA_EXHAUSTED.
     */
    public GenerateTextResponse generateText(GenerateTextRequest request) {
        return calls.unary(GENERATE_TEXT, request, false, timeout);
    }

    /**
     * CancelTurn cancels a turn, and the turn's worker stops running it. The turn's owner and the tenant's administrators may call
     * CancelTurn. The call returns the turn with its terminal event; a turn that had already ended keeps its terminal event. Cancelling
     * a turn again changes nothing. A cancelled turn leaves no message in the conversation, but its cost is recorded. An administrator
     * gets the turn of another user without its question, parameters and answer.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Turn cancelTurn(CancelTurnRequest request) {
        return calls.unary(CANCEL_TURN, request, true, timeout);
    }

    /**
     * GetTurn returns one turn. If the caller may no longer read a document that the turn has read, a refusal (NOT_PERMITTED) replaces
     * the answer. The same applies to all other calls that return turns or messages.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Turn getTurn(GetTurnRequest request) {
        return calls.unary(GET_TURN, request, true, timeout);
    }

    /**
     * ListTurns lists the caller's turns, newest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListTurnsResponse listTurns(ListTurnsRequest request) {
        return calls.unary(LIST_TURNS, request, true, timeout);
    }

    /**
     * CreateConversation creates an empty conversation.
     *
     * <p>Errors: INVALID_FIELD, REQUEST_ID_REUSED, LIMIT_REACHED (conversations, stored bytes).
     */
    public Conversation createConversation(CreateConversationRequest request) {
        return calls.unary(CREATE_CONVERSATION, request, true, timeout);
    }

    /**
     * GetConversation returns one conversation.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Conversation getConversation(GetConversationRequest request) {
        return calls.unary(GET_CONVERSATION, request, true, timeout);
    }

    /**
     * ListConversations lists the caller's conversations, most recently changed first by default. It leaves out a conversation without a
     * title of its own in which questions failed and nothing else has happened.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListConversationsResponse listConversations(ListConversationsRequest request) {
        return calls.unary(LIST_CONVERSATIONS, request, true, timeout);
    }

    /**
     * SearchConversations finds the caller's conversations by the words of their titles and messages, most recently changed first by
     * default.
     *
     * <p>Errors: INVALID_FIELD, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public SearchConversationsResponse searchConversations(SearchConversationsRequest request) {
        return calls.unary(SEARCH_CONVERSATIONS, request, true, timeout);
    }

    /**
     * UpdateConversation changes the fields that update_mask names (title, labels, pinned, archived). If the call fails, it changes
     * nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
     */
    public Conversation updateConversation(UpdateConversationRequest request) {
        return calls.unary(UPDATE_CONVERSATION, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteConversation deletes a conversation with its messages, its turns and their logs, in one transaction.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, CONVERSATION_BUSY (a turn has not ended).
     */
    public void deleteConversation(DeleteConversationRequest request) {
        calls.unary(DELETE_CONVERSATION, request, false, timeout);
    }

    /**
     * ListMessages lists the messages of a conversation, oldest first by default.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListMessagesResponse listMessages(ListMessagesRequest request) {
        return calls.unary(LIST_MESSAGES, request, true, timeout);
    }

    /**
     * GetMessage returns one message with its citations.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Message getMessage(GetMessageRequest request) {
        return calls.unary(GET_MESSAGE, request, true, timeout);
    }

    /**
     * SubmitFeedback stores the caller's opinion of an answer. It replaces earlier feedback on the same answer. Only the user who asked
     * may give feedback.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also for a turn without an answer), INVALID_FIELD (the message is a question; there is neither a
     * rating nor a score, or both).
     */
    public Feedback submitFeedback(SubmitFeedbackRequest request) {
        return calls.unary(SUBMIT_FEEDBACK, request, true, timeout);
    }

    /**
     * GetFeedback returns the caller's feedback on an answer.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also if the caller has given no feedback).
     */
    public Feedback getFeedback(GetFeedbackRequest request) {
        return calls.unary(GET_FEEDBACK, request, true, timeout);
    }

    /**
     * VerifyCitations checks every citation of an answer against the current documents, and returns the verdicts in the order of the
     * citations.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public VerifyCitationsResponse verifyCitations(VerifyCitationsRequest request) {
        return calls.unary(VERIFY_CITATIONS, request, true, timeout);
    }

    /**
     * ShareTurn shares the answer of one of the caller's turns within the tenant, and returns the share without its answer. A turn has
     * at most one share: if it is shared already, the call only sets when the share ends.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, INVALID_FIELD (the turn has no answer that the caller may read, or expire_time is less than a
     * minute from now or later than the installation allows).
     */
    public Share shareTurn(ShareTurnRequest request) {
        return calls.unary(SHARE_TURN, request, true, timeout);
    }

    /**
     * GetShare returns a share with its answer to any caller of the tenant.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also for a share that has ended or was revoked, whose turn was deleted, or whose sharer may no
     * longer read a document that the turn has read).
     */
    public Share getShare(GetShareRequest request) {
        return calls.unary(GET_SHARE, request, true, timeout);
    }

    /**
     * ListShares lists the caller's shares that have not ended, without their answers, newest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListSharesResponse listShares(ListSharesRequest request) {
        return calls.unary(LIST_SHARES, request, true, timeout);
    }

    /**
     * RevokeShare ends one of the caller's shares at once.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also for a share that was revoked before or has ended).
     */
    public void revokeShare(RevokeShareRequest request) {
        calls.unary(REVOKE_SHARE, request, false, timeout);
    }

    /**
     * ListAgents lists the agents that answer questions, ordered by name by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListAgentsResponse listAgents(ListAgentsRequest request) {
        return calls.unary(LIST_AGENTS, request, true, timeout);
    }

    /**
     * GetAgent returns one agent with the schema of its parameters. If a parameter names a resource, the schema lists the resources that
     * the caller may choose.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Agent getAgent(GetAgentRequest request) {
        return calls.unary(GET_AGENT, request, true, timeout);
    }

    /**
     * ListTools lists the tools that the caller may use through at least one agent, ordered by name by default. An owner of the
     * installation gets all declared tools, with their problems.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListToolsResponse listTools(ListToolsRequest request) {
        return calls.unary(LIST_TOOLS, request, true, timeout);
    }

    /**
     * GetTool returns one of the tools that ListTools lists for the caller.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public Tool getTool(GetToolRequest request) {
        return calls.unary(GET_TOOL, request, true, timeout);
    }
}
