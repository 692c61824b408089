#include "base/circuit.h"

static int64_t part_of(int64_t span, double roll)
{
	return (int64_t)((double)span * roll);
}

enum circuit_verdict circuit_ask(struct circuit *circuit, int64_t now_ms, uint64_t *probe)
{
	*probe = 0;
	switch (circuit->state) {
	case CIRCUIT_CLOSED:
		return CIRCUIT_PASS;
	case CIRCUIT_HALF_OPEN:
		return CIRCUIT_WAIT;
	default:
		if (now_ms < circuit->until_ms)
			return CIRCUIT_REFUSE;
		circuit->state = CIRCUIT_HALF_OPEN;
		*probe = ++circuit->probe;
		return CIRCUIT_PROBE;
	}
}

bool circuit_refuses(const struct circuit *circuit, int64_t now_ms)
{
	return circuit->state == CIRCUIT_OPEN && now_ms < circuit->until_ms;
}

bool circuit_succeeded(struct circuit *circuit)
{
	bool was_closed = circuit->state == CIRCUIT_CLOSED;
	circuit_reset(circuit);
	return !was_closed;
}

static void open_for_a_while(
	struct circuit *circuit, int64_t now_ms, int64_t retry_after_s, double roll)
{
	int64_t span_ms = CIRCUIT_SPAN_MAX_MS;
	if (circuit->openings < 16 && CIRCUIT_SPAN_FIRST_MS << circuit->openings < span_ms)
		span_ms = CIRCUIT_SPAN_FIRST_MS << circuit->openings;
	int64_t wait_ms = part_of(span_ms, roll);
	if (wait_ms < CIRCUIT_LEAST_MS)
		wait_ms = CIRCUIT_LEAST_MS;
	if (retry_after_s > CIRCUIT_RETRY_AFTER_MAX_S)
		retry_after_s = CIRCUIT_RETRY_AFTER_MAX_S;
	if (retry_after_s > 0 && wait_ms < retry_after_s * 1000)
		wait_ms = retry_after_s * 1000 + part_of(retry_after_s * 100, roll);
	circuit->state = CIRCUIT_OPEN;
	circuit->openings++;
	circuit->until_ms = now_ms + wait_ms;
	/* The whole span, not the rolled part of it: a short wait must not bring all at once. */
	circuit->spread_ms = wait_ms < span_ms               ? span_ms
			     : wait_ms < CIRCUIT_SPAN_MAX_MS ? wait_ms
							     : CIRCUIT_SPAN_MAX_MS;
}

bool circuit_failed(
	struct circuit *circuit, int64_t now_ms, uint64_t probe, int64_t retry_after_s, double roll)
{
	if (circuit->failures++ == 0)
		circuit->since_ms = now_ms;
	bool is_probe = circuit->state == CIRCUIT_HALF_OPEN && probe == circuit->probe;
	bool is_last_straw =
		circuit->state == CIRCUIT_CLOSED && circuit->failures >= CIRCUIT_FAILURES;
	if (!is_probe && !is_last_straw)
		return false;
	open_for_a_while(circuit, now_ms, retry_after_s, roll);
	return true;
}

bool circuit_abandoned(struct circuit *circuit, int64_t now_ms, uint64_t probe)
{
	if (circuit->state != CIRCUIT_HALF_OPEN || probe != circuit->probe)
		return false;
	circuit->state = CIRCUIT_OPEN;
	circuit->until_ms = now_ms;
	return true;
}

void circuit_reset(struct circuit *circuit)
{
	*circuit = (struct circuit){.probe = circuit->probe};
}
