"""Models behind HTTP and WebSocket: what OpenAI's clients ask for transcripts, and streams of sound."""
