"""`/ws/chat`: frames of JSON over a WebSocket, as a thin client of the chat service. docs/websocket.md describes the client's side."""
