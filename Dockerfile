# speechgru serve in a container, on processors:
#   docker build -t speechgru . && docker run --rm -p 127.0.0.1:8000:8000 -e SPEECHGRU_API_KEY=... speechgru
FROM python:3.12-slim
# What browsers record (webm, m4a) is decoded by ffmpeg.
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY constraints.txt ./
# torch without CUDA; the pins are the same.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY recipes recipes
COPY speechgru speechgru
RUN pip install --no-cache-dir -c constraints.txt '.[serve]'
RUN useradd --create-home listener
USER listener
# Code is compiled once, here: a container that starts finds it.
RUN speechgru warm-up
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["speechgru"]
# Inside of the container all addresses; which of them others reach is said where it is started.
CMD ["serve", "--host", "0.0.0.0"]
