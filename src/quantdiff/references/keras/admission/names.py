"""What a Keras file may name: classes and functions, one by one, never a whole package.

A name is here because making it, and calling it on tensors, does nothing but arithmetic. What loads code, a module or a
file by its name is missing on purpose: ``Lambda`` (a switch of its own), ``TFSMLayer``, ``JaxLayer``, ``FlaxLayer``,
``TorchModuleWrapper``, ``keras.utils``, ``keras.saving``. The tests hold the tables against the installed packages, so
that a new release's new layer is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping


def names_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


LAYERS = names_of("""
    AbstractRNNCell Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention
    AddLoss AddMetric AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D
    AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization BatchNormalizationV1 BatchNormalizationV2
    Bidirectional CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D
    Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D
    Cropping2D Cropping3D CuDNNGRU CuDNNLSTM CustomScaleLayer CutMix Dense DenseFeatures DepthwiseConv1D
    DepthwiseConv2D DeviceWrapper Discretization Dot Dropout DropoutWrapper EinsumDense ELU Embedding Equalization
    Flatten Functional GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D
    GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
    GroupedQueryAttention GRU GRUCell GRUCellV1 GRUCellV2 GRUV1 GRUV2 HashedCrossing Hashing Identity InputLayer
    InputSpec IntegerLookup Layer LayerNormalization LayerScale LeakyReLU LinearModel LocallyConnected1D
    LocallyConnected2D LSTM LSTMCell LSTMCellV1 LSTMCellV2 LSTMV1 LSTMV2 Masking Maximum MaxNumBoundingBoxes
    MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D MelSpectrogram Minimum MixUp Model
    MultiHeadAttention Multiply Normalization Permute Pipeline PReLU RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing
    RandomFlip RandomFourierFeatures RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert
    RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape ResidualWrapper Resizing
    ReversibleEmbedding RMSNormalization RNN SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D SequenceFeatures Sequential SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells STFTSpectrogram StochasticDepth
    StringLookup Subtract SyncBatchNormalization TextVectorization ThresholdedReLU TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D WideDeepModel Wrapper ZeroPadding1D ZeroPadding2D ZeroPadding3D
""")
"""Of Keras 2 and 3, with the layers of their own applications, cells of recurrent layers, and what an input must be."""
INITIALIZERS = names_of("""
    Constant constant ConstantV2 glorot_normal glorot_normalV2 glorot_uniform glorot_uniformV2 GlorotNormal
    GlorotNormalV2 GlorotUniform GlorotUniformV2 he_normal he_normalV2 he_uniform he_uniformV2 HeNormal HeNormalV2
    HeUniform HeUniformV2 Identity identity IdentityInitializer IdentityV2 Initializer lecun_normal lecun_normalV2
    lecun_uniform lecun_uniformV2 LecunNormal LecunNormalV2 LecunUniform LecunUniformV2 normal one Ones ones OnesV2
    Orthogonal orthogonal OrthogonalInitializer OrthogonalV2 random_normal random_uniform RandomInitializer
    RandomNormal RandomNormalV2 RandomUniform RandomUniformV2 STFT stft STFTInitializer truncated_normal
    TruncatedNormal TruncatedNormalV2 uniform variance_scaling VarianceScaling VarianceScalingV2 zero Zeros zeros
    ZerosV2
""")
REGULARIZERS = names_of("""
    L1 l1 l1_l2 L1L2 L2 l2 orthogonal_regularizer OrthogonalRegularizer Regularizer
""")
CONSTRAINTS = names_of("""
    Constraint max_norm MaxNorm maxnorm min_max_norm MinMaxNorm non_neg NonNeg nonneg radial_constraint
    RadialConstraint unit_norm UnitNorm unitnorm
""")
OPTIMIZERS = names_of("""
    Adadelta Adafactor Adagrad Adam Adamax AdamW Ftrl Lamb Lion LossScaleOptimizer LossScaleOptimizerV1
    LossScaleOptimizerV3 MultiOptimizer Muon Nadam Optimizer RMSprop ScheduleFreeAdamW SGD
""")
SCHEDULES = names_of("""
    CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay LearningRateSchedule LinearCosineDecay
    NoisyLinearCosineDecay PiecewiseConstantDecay PolynomialDecay
""")
LOSSES = names_of("""
    BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity CTC Dice Hinge Huber KLDivergence
    LogCosh Loss LossFunctionWrapper MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
    MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge Tversky
""")
METRICS = names_of("""
    Accuracy AUC BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy CategoricalCrossentropy
    CategoricalHinge ConcordanceCorrelation CosineSimilarity F1Score FalseNegatives FalsePositives FBetaScore Hinge
    IoU KLDivergence LogCoshError Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanMetricWrapper
    MeanRelativeError MeanSquaredError MeanSquaredLogarithmicError MeanTensor Metric OneHotIoU OneHotMeanIoU
    PearsonCorrelation Poisson Precision PrecisionAtRecall R2Score Recall RecallAtPrecision Reduce
    RootMeanSquaredError SensitivityAtSpecificity SparseCategoricalAccuracy SparseCategoricalCrossentropy
    SparseTopKCategoricalAccuracy SpecificityAtSensitivity SquaredHinge Sum SumOverBatchSize
    SumOverBatchSizeMetricWrapper TopKCategoricalAccuracy TrueNegatives TruePositives
""")
POLICIES = names_of("""
    AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy Int4DTypePolicy Policy PolicyV1
    QuantizedDTypePolicy QuantizedFloat8DTypePolicy
""")
QUANTIZERS = names_of("""
    AbsMaxQuantizer AWQConfig Float8QuantizationConfig GPTQConfig Int4QuantizationConfig Int8QuantizationConfig
    QuantizationConfig Quantizer
""")
COLUMNS = names_of("""
    BucketizedColumn CrossedColumn EmbeddingColumn HashedCategoricalColumn IdentityCategoricalColumn IndicatorColumn
    NumericColumn SequenceCategoricalColumn SequenceNumericColumn SharedEmbeddingColumn VocabularyListCategoricalColumn
    WeightedCategoricalColumn
""")
"""Feature columns of ``DenseFeatures``; the one that reads a file is missing."""
ACTIVATIONS = names_of("""
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softmax_v2 softplus softsign
    sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
""")
LOSS_FUNCTIONS = names_of("""
    binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy
    categorical_generalized_cross_entropy categorical_hinge circle cosine_similarity ctc dice hinge huber
    kl_divergence KLD kld kullback_leibler_divergence log_cosh logcosh MAE mae MAPE mape mean_absolute_error
    mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error MSE mse MSLE msle poisson
    sparse_categorical_crossentropy squared_hinge tversky
""")
METRIC_FUNCTIONS = names_of("""
    ACC acc accuracy BCE bce binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy
    categorical_crossentropy categorical_focal_crossentropy categorical_hinge concordance_correlation
    cosine_proximity hinge huber kl_divergence KLD kld kullback_leibler_divergence log_cosh logcosh MAE mae MAPE
    mape mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error MSE
    mse MSLE msle pearson_correlation poisson sparse_categorical_accuracy sparse_categorical_crossentropy
    sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy
""")

OPS: Mapping[str, frozenset[str]] = {
    "keras.src.ops.core": names_of("""
    Cast ConvertToTensor SaturateCast Scatter ScatterUpdate Slice SliceUpdate StopGradient Unstack
"""),
    "keras.src.ops.einops": names_of("""
    Rearrange
"""),
    "keras.src.ops.image": names_of("""
    AffineTransform CropImages ElasticTransform ExtractPatches GaussianBlur HSVToRGB MapCoordinates PadImages
    PerspectiveTransform Resize RGBToGrayscale RGBToHSV ScaleAndTranslate SobelEdges SSIM
"""),
    "keras.src.ops.linalg": names_of("""
    Cholesky CholeskyInverse Det Eig Eigh Inv Lstsq LuFactor MatrixRank Norm Pinv Qr Solve SolveTriangular SVD
"""),
    "keras.src.ops.math": names_of("""
    CDist Erf Erfc Erfinv ExtractSequences FFT FFT2 IFFT2 InTopK IRFFT ISTFT Logdet Logsumexp RFFT Rsqrt SegmentMax
    SegmentMin SegmentProd SegmentReduction SegmentSum STFT TopK ViewAsComplex ViewAsReal
"""),
    "keras.src.ops.nn": names_of("""
    AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm BinaryCrossentropy CategoricalCrossentropy Celu Conv
    ConvTranspose CTCDecode CTCLoss DepthToSpace DepthwiseConv DotProductAttention Elu Fold Gelu Glu HardShrink
    HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments MultiHot Normalize
    OneHot Polar PSNR Relu Relu6 RMSNorm Selu SeparableConv Sigmoid Silu Softmax Softplus SoftShrink Softsign
    SpaceToDepth SparseCategoricalCrossentropy Sparsemax SparsePlus SparseSigmoid Squareplus TanhShrink Threshold
    Unfold
"""),
    "keras.src.ops.numpy": names_of("""
    Abs Absolute Add All AllClose Amax Amin Angle Any Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2
    Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit Average Bincount BitwiseAnd BitwiseInvert
    BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo Cbrt Ceil Clip Concatenate Conj
    Conjugate Copy Corrcoef Correlate Cos Cosh CountNonzero Cross Cumprod Cumsum Deg2rad Diag Diagflat Diagonal Diff
    Digitize Divide DivideNoNan Dot Dsplit Dstack Einsum EmptyLike Equal Exp Exp2 ExpandDims Expm1 Fabs Flip Fliplr
    Flipud Floor FloorDivide Fmax Fmin Fmod Full FullLike Gcd Geomspace GetItem Greater GreaterEqual Heaviside
    Histogram Hsplit Hstack Hypot I0 Imag Inner Isclose Isfinite IsIn Isinf Isnan Isneginf Isposinf Isreal Kron Lcm
    Ldexp LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd LogicalNot
    LogicalOr LogicalXor Logspace Matmul Max Maximum Mean Median Meshgrid Min Minimum Mod Moveaxis Multiply
    Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile
    Nanstd Nansum NanToNum Nanvar Ndim Negative Nextafter Nonzero NotEqual OnesLike Outer Pad Percentile Power Prod
    Ptp Quantile Rad2deg Ravel Real Reciprocal Repeat Reshape RightShift Roll Rot90 Round SearchSorted Select Sign
    Signbit Sin Sinc Sinh Size Slogdet Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take
    TakeAlongAxis Tan Tanh Tensordot Tile Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unique UnravelIndex
    Vander Var Vdot View Vsplit Vstack Where ZerosLike
"""),
}
"""Operations of Keras 3, which stand in a functional model as layers, by module; without those that take a function."""

TFMOT = names_of("""
    AllValuesQuantizer Default8BitActivationQuantizeConfig Default8BitConvQuantizeConfig
    Default8BitConvTransposeQuantizeConfig Default8BitOutputQuantizeConfig Default8BitQuantizeConfig
    Default8BitQuantizeConfigRNN DefaultNBitActivationQuantizeConfig DefaultNBitConvQuantizeConfig
    DefaultNBitConvTransposeQuantizeConfig DefaultNBitOutputQuantizeConfig DefaultNBitQuantizeConfig
    DefaultNBitQuantizeConfigRNN FixedQuantizeConfig FixedQuantizer LastValueQuantizer MovingAverageQuantizer
    NoOpActivation NoOpQuantizeConfig NoQuantizer OutputOnlyConfig QuantizeAnnotate QuantizeAwareActivation
    QuantizeLayer QuantizeWrapper QuantizeWrapperV2
""")
"""What TFMOT's ``quantize_scope`` names."""

_TFMOT = "tensorflow_model_optimization.python.core.quantization.keras"

CLASSES: Mapping[str, frozenset[str]] = {
    "keras": LAYERS | INITIALIZERS | REGULARIZERS | OPTIMIZERS | LOSSES | METRICS | POLICIES | QUANTIZERS,
    "keras.layers": LAYERS,
    "keras.layers.experimental": LAYERS,
    "keras.layers.experimental.preprocessing": LAYERS,
    "keras.models": LAYERS,
    "keras.experimental": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
    "keras.optimizers": OPTIMIZERS,
    "keras.optimizers.experimental": OPTIMIZERS,
    "keras.optimizers.legacy": OPTIMIZERS,
    "keras.optimizers.schedules": SCHEDULES,
    "keras.losses": LOSSES,
    "keras.__internal__.losses": LOSSES,
    "keras.metrics": METRICS,
    "keras.mixed_precision": POLICIES | {"LossScaleOptimizer"},
    "keras.mixed_precision.experimental": POLICIES | {"LossScaleOptimizer"},
    "keras.dtype_policies": POLICIES,
    "keras.quantizers": QUANTIZERS,
    "keras.random": names_of("SeedGenerator"),
    "keras.src.models.functional": names_of("Functional"),
    "keras.src.models.model": names_of("Model"),
    "keras.src.models.sequential": names_of("Sequential"),
    "keras.src.engine.functional": names_of("Functional"),
    "keras.src.engine.base_layer": names_of("AddLoss AddMetric TensorFlowOpLayer"),
    "keras.src.layers.core.tf_op_layer": names_of(
        "ClassMethod InstanceMethod InstanceProperty SlicingOpLambda TFOpLambda"
    ),
    "keras.src.layers.rnn.cell_wrappers": names_of("DeviceWrapper DropoutWrapper ResidualWrapper"),
    "keras.src.activations.activations": names_of("Mish ReLU"),
    "keras.src.quantizers.quantizers": names_of("FakeQuantWithMinMaxVars"),
    "keras.src.applications.convnext": names_of("LayerScale StochasticDepth"),
    "keras.src.applications.inception_resnet_v2": names_of("CustomScaleLayer"),
    "keras.src.losses": names_of("LossFunctionWrapper"),
    "keras.src.losses.losses": names_of("LossFunctionWrapper"),
    "keras.src.mixed_precision.loss_scale_optimizer": names_of("LossScaleOptimizer LossScaleOptimizerV3"),
    f"{_TFMOT}.quantize_annotate": TFMOT & names_of("QuantizeAnnotate"),
    f"{_TFMOT}.quantize_aware_activation": TFMOT & names_of("NoOpActivation QuantizeAwareActivation"),
    f"{_TFMOT}.quantize_layer": TFMOT & names_of("QuantizeLayer"),
    f"{_TFMOT}.quantize_wrapper": TFMOT & names_of("QuantizeWrapper QuantizeWrapperV2"),
    "quantdiff.references.keras.frameworks": names_of("QuantizeLayer QuantizeWrapperV2"),  # read here, saved again
    **OPS,
}
"""Module as a file writes it, without the ``tf_`` in front of ``keras`` → the classes that may be made from it."""

PLAIN_CLASSES = frozenset[str]().union(*CLASSES.values(), COLUMNS, TFMOT)
"""Classes that older files name without a module; Keras looks them up in tables of its own."""

_ACTIVATIONS = dict.fromkeys(
    ("keras.activations", "keras.src.activations", "keras.src.activations.activations"), ACTIVATIONS
)
FUNCTIONS: Mapping[str, frozenset[str]] = {
    **_ACTIVATIONS,
    "builtins": ACTIVATIONS | LOSS_FUNCTIONS | METRIC_FUNCTIONS | REGULARIZERS,
    "keras.losses": LOSS_FUNCTIONS,
    "keras.metrics": METRIC_FUNCTIONS,
    "keras.regularizers": REGULARIZERS,
    "keras.initializers": INITIALIZERS,
    "keras.constraints": CONSTRAINTS,
}
"""Module → the functions that may be named there; ``builtins`` is what Keras writes for its own."""

PLAIN_FUNCTIONS = frozenset[str]().union(*FUNCTIONS.values())
