.PHONY: help demo test chaos check figures clean

help:
	@echo 'make demo    build it, start a broker, a backend and a worker, and walk through every flow'
	@echo '             (DEMO_ONCE=1 make demo ends by itself)'
	@echo 'make test    every test, on a private broker (or AMQP_URL=amqp://... make test)'
	@echo 'make chaos   the fault matrix: every fault under traffic, each id counted (hours)'
	@echo 'make check   format, lints, docs, dependencies, scripts'
	@echo 'make figures speed, latency and CPU of each flow, beside the least that would do'
	@echo 'make clean   forget the broker, the tools and everything built'

demo:
	@scripts/demo

test:
	@scripts/test

chaos:
	@scripts/chaos

check:
	@scripts/check

figures:
	@scripts/figures

clean:
	scripts/broker down
	cargo clean
	rm -rf .tools .broker data
