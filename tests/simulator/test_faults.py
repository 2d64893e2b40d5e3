from immich_job_daemon.immich.transport import Response
from simulator.immich.faults import Fault, FaultQueue, RandomFaults, truncated


def test_a_fault_queue_returns_one_fault_per_request_then_none() -> None:
    faults = FaultQueue([Fault.HANG, None, Fault.HTML])
    found = [faults("GET", "/api/queues") for _ in range(5)]
    assert found == [Fault.HANG, None, Fault.HTML, None, None]


def test_random_faults_have_their_probability_and_repeat_with_their_seed() -> None:
    def draw(seed: int) -> list[Fault | None]:
        faults = RandomFaults(seed, 0.25, [Fault.RESET, Fault.HTML])
        return [faults("PUT", "/api/queues/ocr") for _ in range(2000)]

    found = draw(1)
    assert found == draw(1)
    assert found != draw(2)
    assert set(found) == {Fault.RESET, Fault.HTML, None}
    assert 400 < sum(fault is not None for fault in found) < 600


def test_random_faults_are_of_every_kind_by_default() -> None:
    faults = RandomFaults(1, 1.0)
    assert {faults("GET", "/") for _ in range(500)} == set(Fault)


def test_a_truncated_response_lacks_its_second_half() -> None:
    assert truncated(Response(200, "text/plain", b"abcd")) == Response(200, "text/plain", b"ab")
