.PHONY: help demo test chaos check bench clean

help:
	@echo 'make demo    build it, start a broker, a backend and a worker, and walk through every flow'
	@echo '             (DEMO_ONCE=1 make demo ends by itself)'
	@echo 'make test    every test, on a private broker (or AMQP_URL=amqp://... make test)'
	@echo 'make chaos   the fault matrix: every fault under traffic, each id counted (an hour)'
	@echo 'make check   format, lints, docs, dependencies, scripts'
	@echo 'make bench   speed, latency, CPU and memory beside the least that would do, into docs/performance.md'
	@echo '             (make bench PART=accept measures one part and writes nothing)'
	@echo 'make clean   forget the broker, the tools and everything built'

demo:
	@scripts/demo

test:
	@scripts/test

chaos:
	@scripts/chaos

check:
	@scripts/check

bench:
	@scripts/bench $(PART)

clean:
	scripts/broker down
	cargo clean
	rm -rf .tools .broker data
