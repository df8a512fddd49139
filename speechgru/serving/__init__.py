"""Models behind HTTP and WebSocket: transcripts as OpenAI's clients ask for them, and streams of sound."""
