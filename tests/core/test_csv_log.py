import csv

from core.csv_log import CSVLog, LogFirst


def written(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def begin(log):
    """Begin training, from where on a log that was taken up may be written."""
    LogFirst(log).on_train_start(None, None)


def test_a_log_that_was_taken_up_is_left_as_it_is_until_training_begins(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"loss": 1.0}, 5)
    log.save()
    refused = CSVLog(tmp_path)
    refused.take_up(2)
    refused.finalize("failed")
    assert [row["step"] for row in written(tmp_path)] == ["5"]


def test_a_row_holds_all_that_was_logged_at_its_step(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"train/loss": 2.0, "epoch": 0}, 10)
    log.log_metrics({"val/loss": 3.0, "epoch": 0}, 10)
    log.log_metrics({"train/loss": 1.0, "epoch": 1}, 20)
    log.save()
    assert written(tmp_path) == [
        {"step": "10", "train/loss": "2.0", "val/loss": "3.0"},
        {"step": "20", "train/loss": "1.0", "val/loss": ""},
    ]


def test_a_resumed_log_keeps_rows_up_to_its_step_and_drops_later_ones(tmp_path):
    log = CSVLog(tmp_path)
    for step in (1, 2, 3, 4):
        log.log_metrics({"loss": float(step)}, step)
    log.finalize("interrupted")
    resumed = CSVLog(tmp_path)
    resumed.take_up(2)
    begin(resumed)
    resumed.log_metrics({"loss": 30.0}, 3)
    resumed.save()
    rows = [(row["step"], row["loss"]) for row in written(tmp_path)]
    assert rows == [("1", "1.0"), ("2", "2.0"), ("3", "30.0")]


def test_columns_that_appear_later_leave_earlier_rows_as_they_are(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"loss": 1.0}, 1)
    log.save()
    resumed = CSVLog(tmp_path)
    resumed.take_up(1)
    begin(resumed)
    resumed.log_metrics({"accuracy": 0.5}, 2)
    resumed.save()
    assert written(tmp_path) == [
        {"step": "1", "loss": "1.0", "accuracy": ""},
        {"step": "2", "loss": "", "accuracy": "0.5"},
    ]


def test_a_new_run_does_not_take_over_an_old_ones_rows(tmp_path):
    old = CSVLog(tmp_path)
    old.log_metrics({"loss": 1.0}, 1)
    old.save()
    new = CSVLog(tmp_path)
    new.log_metrics({"loss": 2.0}, 5)
    new.save()
    assert [row["step"] for row in written(tmp_path)] == ["5"]


def test_taking_up_where_nothing_was_logged_is_an_empty_log(tmp_path):
    log = CSVLog(tmp_path)
    log.take_up(100)
    begin(log)
    log.save()
    assert written(tmp_path) == []
