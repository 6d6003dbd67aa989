"""`--mode=visualize`: a contact sheet of random validation examples, ground truth and prediction in colour."""

import numpy as np

from fcn_tf.config import Config
from fcn_tf.data.datasets import run_classes, run_examples
from fcn_tf.errors import UserError
from fcn_tf.io import files, system
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import contact_sheet


def run(config: Config) -> int:
    """Writes visualize/{inp,gt,pred,overlay,error}_N.png, legend.png and index.html under --logs_dir.

    Args:
      config: uses dataset, data_dir, split and the other flags of the data set, palette, logs_dir, tta and
        sliding_window; count, or batch_size where that is 0, says how many examples, and seed which ones.

    Returns:
      The exit status, 0.

    Raises:
      UserError: without a trained model, a data set, or a folder that can be written.
    """
    run_dir = Run(config.logs_dir)
    model = run_dir.require_model()
    settings = run_dir.read_config()
    # The split is that of the run, whatever the seed that draws examples from it.
    options = {**config.data_flags(), "seed": (settings.get("flags") or {}).get("seed", config.seed)}
    dataset = run_examples.load(run_dir, config.dataset, config.data_dir, config.split, **options, cache=run_dir.facts)
    if not len(dataset):
        raise UserError(f"{dataset.spec.name} {dataset.split} has no examples; give another --split.")
    files.require_writable(run_dir.visualize, flag="--logs_dir")
    dataset = run_classes.settle(
        run_dir, dataset, name=config.dataset, data_dir=config.data_dir, palette=config.palette
    )
    count = min(config.count or config.batch_size, len(dataset))
    chosen = np.random.default_rng(config.seed).choice(len(dataset), count, replace=False).tolist()

    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    from fcn_tf.inference import evaluator, views

    samples: list[contact_sheet.Sample] = []

    def on_batch(
        indices: np.ndarray, pictures: np.ndarray, labels: np.ndarray, predictions: np.ndarray, _counts: np.ndarray
    ) -> None:
        names = [dataset.examples[index].name for index in indices]
        samples.extend(map(contact_sheet.Sample, names, pictures, labels, predictions))

    evaluation = evaluator.evaluate_dataset(
        evaluator.load_model(run_dir),
        dataset,
        options=views.InferenceOptions(tta=config.tta, tile=config.sliding_window),
        indices=chosen,
        on_batch=on_batch,
    )
    scores = contact_sheet.scores(evaluation.counts, dataset.spec)
    index = contact_sheet.write_sheet(
        samples,
        dataset.spec,
        run_dir.visualize,
        title=f"{dataset.spec.name} {dataset.split}: {count} of {len(dataset)} images",
        subtitle=f"{model}, seed {config.seed}. Together: {scores}.",
    )
    print(
        f"{count} of {len(dataset)} examples of {dataset.spec.name} {dataset.split}; open {index} "
        f"(--seed={config.seed} --count={count} shows the same again)"
    )
    return 0
