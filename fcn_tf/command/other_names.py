"""What other programs call our flags, for whoever types those names."""

from fcn_tf import registry

_OTHER_NAMES = {
    "learning_rate": ("lr", "base_lr", "initial_lr"),
    "max_steps": ("steps", "num_steps", "iterations", "max_iter", "max_iters", "num_iterations", "train_steps"),
    "batch_size": ("batch", "bs", "train_batch_size"),
    "image_size": ("img_size", "imgsz", "crop_size", "input_size", "resolution"),
    "jitter": ("color_jitter", "colour_jitter"),
    "rotate": ("rotation", "max_rotation", "degrees"),
    "scales": ("scale_range", "random_scale", "min_scale", "max_scale"),
    "data_dir": ("data", "data_path", "data_root", "dataset_dir", "root"),
    "logs_dir": ("log_dir", "logdir", "output", "out_dir", "work_dir", "save_dir", "checkpoint_dir", "run_dir"),
    "model_dir": ("weights_dir", "pretrained_dir"),
    "weights": ("pretrained", "backbone", "checkpoint", "ckpt"),
    "init_from": ("finetune_from", "fine_tune", "load_from", "transfer_from", "warm_start"),
    "arch": ("model", "model_name", "network", "architecture"),
    "class_weights": ("class_weight", "weighting"),
    "num_classes": ("classes", "nc", "n_classes", "num_labels"),
    "ignore_label": ("ignore_index", "void_label"),
    "precision": ("dtype", "amp", "fp16", "mixed_precision"),
    "seed": ("random_seed", "manual_seed"),
    "eval_every": ("eval_interval", "val_interval", "validate_every"),
    "save_every": ("save_interval", "checkpoint_every", "save_freq"),
    "early_stopping": ("patience", "early_stop", "early_stopping_patience"),
    "log_every": ("log_interval", "log_freq", "print_freq"),
    "clip_norm": ("clip_grad_norm", "max_grad_norm", "grad_clip", "gradient_clip_norm", "global_clipnorm", "clipnorm"),
    "head_rate": ("head_lr_mult", "classifier_lr_mult"),
    "trunk_rate": ("backbone_lr_mult", "backbone_lr", "encoder_lr"),
    "bias_rate": ("bias_lr_mult", "bias_lr_factor"),
    "ema": ("ema_decay", "model_ema", "ema_momentum", "use_ema"),
    "accumulate": ("accumulation_steps", "gradient_accumulation_steps", "grad_accum", "accum_iter"),
    "longest_side": ("max_side", "max_size", "longest_edge", "max_length", "resize_to", "long_side"),
    "recompute": ("gradient_checkpointing", "remat", "checkpoint_activations"),
    "dropout": ("dropout_rate", "keep_prob"),
    "verbosity": ("verbose", "log_level", "loglevel", "debug_level"),
    "host": ("bind", "address", "listen", "server_name"),
    "token": ("api_key", "api_token", "auth_token"),
    "max_steps, which counts steps: an epoch is the training images / --batch_size": (
        "epochs", "epoch", "num_epochs", "max_epochs", "n_epochs",
    ),
}  # fmt: skip
_MEANT = {other: f"use --{ours}" for ours, others in _OTHER_NAMES.items() for other in others}
_MEANT |= dict.fromkeys(
    ("gpu", "gpus", "gpu_id", "gpu_ids", "num_gpus", "device", "devices"),
    "every GPU that CUDA_VISIBLE_DEVICES shows is used",
)
_MEANT |= {name: f"use --outputs=labels,{name}" for name in registry.OUTPUTS if name != "labels"}
_MEANT |= dict.fromkeys(("workers", "num_workers"), "the input pipeline reads with every core")
_MEANT |= dict.fromkeys(("resume", "continue"), "the same command with the same --logs_dir resumes")


def advice(name: str) -> str:
    """What to do in place of a flag of this name: "use --learning_rate" for lr; "" where the name is not known."""
    return _MEANT.get(name.lower(), "")
