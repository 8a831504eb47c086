/** A chat with the AI SDK. The page's address names the conversation, so a reload, also in mid-answer, shows all of it. */

import { useChat } from "@ai-sdk/react";
import { Responsa, ResponsaChatTransport, type ChatMessage } from "@responsa/client";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const URL = "http://127.0.0.1:8080";
const client = new Responsa({ url: URL, credential: () => sessionStorage.getItem("key") ?? "" }); // or a person's `Session`
const transport = new ResponsaChatTransport(client, { page: URL });

function Chat(chat: { id: string; messages: ChatMessage[] }) {
  const [text, setText] = useState("");
  const { messages, sendMessage, status, stop, error } = useChat({ ...chat, transport, resume: true });
  const isRunning = status === "submitted" || status === "streaming";
  return (
    <main>
      {messages.map(({ id, role, parts }) => (
        <article key={id} className={role}>
          {parts.map((part, place) => {
            if (part.type === "text") return <p key={place}>{part.text}</p>;
            if (part.type === "source-url") return <Source key={place} {...part} />;
            if (part.type === "data-status" && isRunning) return <em key={place}>{part.data.message}</em>;
            return null;
          })}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void sendMessage({ text });
          setText("");
        }}
      >
        <input aria-label="Question" value={text} onChange={(event) => setText(event.target.value)} />
        {isRunning ? (
          <button type="button" onClick={() => void stop()}>
            Stop
          </button>
        ) : (
          <button disabled={!text.trim()}>Ask</button>
        )}
      </form>
    </main>
  );
}

function Source({ url, title = url }: { url: string; title?: string | undefined }) {
  return <a href={url}>{title}</a>;
}

const id = location.hash.slice(1) || (await transport.begin());
location.hash = id;
createRoot(document.body.appendChild(document.createElement("div"))).render(<Chat id={id} messages={await transport.messages(id)} />);
