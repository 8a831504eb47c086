"""`/ws/chat`: JSON frames over a WebSocket. It is a thin client of the chat service. docs/streams.md describes the client's side."""
