import threading
from dataclasses import replace

import pytest
from make_folder import write_folder
from small_grid import GRID, Counting, evaluation, made_up

from dealseg.errors import ConfigError, DataError
from dealseg.experiments import Shard, expand, read_result, run_jobs, running
from dealseg.experiments.results import gather, result_file
from dealseg.experiments.running import LOCKS, collect, run_folder, train_and_judge

PLAN = expand(GRID)
JOBS = [(f"key{place:02d}", job) for place, job in enumerate(PLAN.jobs)]
NAMES = [job.name for _, job in JOBS]


def silent(text):
    pass


def table_bytes(out):
    """Return what is gathered from a folder."""
    return gather(out, collect(JOBS, out, run_jobs([], out, made_up, silent)).values()).read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    run_jobs(JOBS, out, made_up, silent)
    return table_bytes(out)


def test_all_jobs_are_done_once_in_the_grid_s_order(tmp_path):
    do, said = Counting(), []
    outcome = run_jobs(JOBS, tmp_path, do, said.append)
    assert do.done == NAMES
    assert outcome.done == [key for key, _ in JOBS]
    assert len(said) == len(JOBS)
    assert said[0].startswith(f"[1/{len(JOBS)}] cam-none-none-none-s0: mIoU ")
    assert list((tmp_path / LOCKS).iterdir()) == []


def test_finished_jobs_are_skipped(tmp_path):
    run_jobs(JOBS[:5], tmp_path, made_up, silent)
    do = Counting()
    outcome = run_jobs(JOBS, tmp_path, do, silent)
    assert do.done == NAMES[5:]
    assert set(outcome.results) == {key for key, _ in JOBS}


@pytest.mark.parametrize("stop_at", [0, 1, 7, len(JOBS) - 1])
def test_an_interrupted_grid_that_goes_on_is_as_an_undisturbed_one(tmp_path, undisturbed, stop_at):
    with pytest.raises(KeyboardInterrupt):
        run_jobs(JOBS, tmp_path, Counting(stop_at), silent)
    do = Counting()
    run_jobs(JOBS, tmp_path, do, silent)
    assert do.done == NAMES[stop_at:]
    assert table_bytes(tmp_path) == undisturbed


@pytest.mark.parametrize("count", [1, 2, 3, 5, len(JOBS), len(JOBS) + 3])
def test_shards_are_disjoint_and_together_the_whole(tmp_path, undisturbed, count):
    names = []
    for number in range(1, count + 1):
        do = Counting()
        run_jobs(JOBS, tmp_path, do, silent, Shard(number, count))
        names.append(do.done)
    assert sorted(name for part in names for name in part) == sorted(NAMES)
    assert max(map(len, names)) - min(map(len, names)) <= 1
    assert table_bytes(tmp_path) == undisturbed


def test_a_shard_s_part_does_not_depend_on_what_is_finished(tmp_path):
    run_jobs(JOBS[:3], tmp_path, made_up, silent)
    do = Counting()
    run_jobs(JOBS, tmp_path, do, silent, Shard(2, 2))
    assert do.done == [name for place, name in enumerate(NAMES) if place % 2 and place >= 3]


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="shard must be i/n with 1 <= i <= n, such as 2/8, got"):
        Shard.of(text)
    assert Shard.of(" 2/8 ") == Shard(2, 8)


def test_a_corrupt_result_is_reported_and_its_job_alone_done_again(tmp_path, undisturbed, caplog):
    run_jobs(JOBS, tmp_path, made_up, silent)
    file = result_file(tmp_path, "key04")
    file.write_text(file.read_text().replace("0.", "1.", 1))
    do = Counting()
    run_jobs(JOBS, tmp_path, do, silent)
    assert do.done == [NAMES[4]]
    assert caplog.text.count("key04.json: damaged") == 1
    assert table_bytes(tmp_path) == undisturbed


def test_a_job_that_fails_is_told_and_the_others_are_done(tmp_path):
    def do(job, run):
        if job.name == NAMES[2]:
            raise DataError("a/b.png: cannot be read")
        return made_up(job, run)

    said = []
    outcome = run_jobs(JOBS, tmp_path, do, said.append)
    assert outcome.failed == {NAMES[2]: "a/b.png: cannot be read"}
    assert said[2].endswith("FAILED: a/b.png: cannot be read")
    assert len(outcome.done) == len(JOBS) - 1
    assert read_result(tmp_path, "key02") is None
    assert list((tmp_path / LOCKS).iterdir()) == []


def test_a_mistake_of_ours_is_not_hidden(tmp_path):
    def do(job, run):
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_jobs(JOBS, tmp_path, do, silent)


def test_of_processes_that_race_each_job_is_done_once(tmp_path, undisturbed):
    done, outcomes = [], []
    start = threading.Barrier(4)

    def do(job, run):
        done.append(job.name)
        return made_up(job, run)

    def race():
        start.wait()
        outcomes.append(run_jobs(JOBS, tmp_path, do, silent))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(NAMES)
    assert table_bytes(tmp_path) == undisturbed
    for outcome in outcomes:
        assert len(outcome.results) + len(outcome.elsewhere) == len(JOBS)


def test_a_job_that_another_process_does_is_left_to_it_and_said(tmp_path):
    (tmp_path / LOCKS).mkdir()
    (tmp_path / LOCKS / "key01.lock").write_text('{"host": "node7", "pid": 12, "token": "t"}')
    said, do = [], Counting()
    outcome = run_jobs(JOBS[:3], tmp_path, do, said.append)
    assert do.done == [NAMES[0], NAMES[2]]
    assert outcome.elsewhere == {NAMES[1]: "node7, pid 12"}
    assert said[1].endswith("another process does it (node7, pid 12)")


def test_run_folders_are_told_apart_by_their_keys(tmp_path):
    job = JOBS[0][1]
    assert run_folder(tmp_path, "a" * 24, job) != run_folder(tmp_path, "b" * 24, job)
    assert run_folder(tmp_path, "a" * 24, job).name == f"{job.name}-aaaaaaaa"


def test_a_job_is_judged_where_it_is_trained(tmp_path, monkeypatch):
    places = []

    def judged(*_, device, **__):
        places.append(device)
        return evaluation(0.5)

    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    monkeypatch.setattr(running, "judge", judged)
    do = train_and_judge(write_folder(tmp_path / "data"), tmp_path)
    for device in ("cpu", "auto"):
        job = JOBS[0][1]
        do(replace(job, config=replace(job.config, device=device)), tmp_path / device)
    assert places == ["cpu", "auto"]
