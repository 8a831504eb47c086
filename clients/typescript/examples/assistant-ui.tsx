/** A chat with assistant-ui, on its runtime for the AI SDK. The page's address names the conversation, so a reload, also in mid-answer, shows all of it. */

import { useChat } from "@ai-sdk/react";
import { AssistantRuntimeProvider, ComposerPrimitive, ErrorPrimitive, MessagePrimitive, ThreadPrimitive, useAuiState } from "@assistant-ui/react";
import { useAISDKRuntime } from "@assistant-ui/react-ai-sdk";
import { Responsa, ResponsaChatTransport, type ChatMessage } from "@responsa/client";
import { createRoot } from "react-dom/client";

const URL = "http://127.0.0.1:8080";
const client = new Responsa({ url: URL, credential: () => sessionStorage.getItem("key") ?? "" }); // or a person's `Session`
const transport = new ResponsaChatTransport(client, { page: URL });

function Chat(chat: { id: string; messages: ChatMessage[] }) {
  const runtime = useAISDKRuntime(useChat({ ...chat, transport, resume: true }));
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root>
        <ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage }} />
        <ComposerPrimitive.Root>
          <ComposerPrimitive.Input aria-label="Question" />
          <ComposerPrimitive.Send>Ask</ComposerPrimitive.Send>
          <ComposerPrimitive.Cancel>Stop</ComposerPrimitive.Cancel>
        </ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

function UserMessage() {
  return (
    <MessagePrimitive.Root className="user">
      <MessagePrimitive.Parts />
    </MessagePrimitive.Root>
  );
}

function AssistantMessage() {
  return (
    <MessagePrimitive.Root className="assistant">
      <MessagePrimitive.Parts components={{ Source, data: { by_name: { status: Status } } }} />
      <MessagePrimitive.Error>
        <ErrorPrimitive.Message role="alert" />
      </MessagePrimitive.Error>
    </MessagePrimitive.Root>
  );
}

function Source({ url, title = url }: { url?: string | undefined; title?: string | undefined }) {
  return <a href={url}>{title}</a>;
}

function Status({ data }: { data: { message: string } }) {
  return useAuiState(({ message }) => message.status?.type === "running") ? <em>{data.message}</em> : null;
}

const id = location.hash.slice(1) || (await transport.begin());
location.hash = id;
createRoot(document.body.appendChild(document.createElement("div"))).render(<Chat id={id} messages={await transport.messages(id)} />);
