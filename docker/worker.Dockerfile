FROM python:3.12-slim-bookworm
RUN pip install --no-cache-dir pika==1.3.2 && useradd --uid 10001 sample
COPY samples /samples
USER 10001
CMD ["python3", "/samples/worker.py"]
