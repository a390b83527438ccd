"""From a segmenter and images or video to masks: no tags, no depth."""

from dealseg.predicting.inputs import Pictures, Recording, find_input
from dealseg.predicting.loading import load_predictor
from dealseg.predicting.options import PredictOptions
from dealseg.predicting.predict_pictures import PredictResult, predict_pictures
from dealseg.predicting.predict_recording import predict_recording
from dealseg.predicting.predictors import PixelPredictor, Prediction, Predictor, RunPredictor

__all__ = [
    "Pictures",
    "PixelPredictor",
    "PredictOptions",
    "PredictResult",
    "Prediction",
    "Predictor",
    "Recording",
    "RunPredictor",
    "find_input",
    "load_predictor",
    "predict_pictures",
    "predict_recording",
]
