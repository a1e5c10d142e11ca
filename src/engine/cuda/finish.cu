// What follows a product: plus a bias of each channel, a shift of each row and channel and a residual, then relu where
// that is wanted: the twin of `finished` in fused.rs.
#include "numbers.cuh"

// x is [rows, channels, places]; a bias [channels], a shift [.., channels] and a residual [.., channels, places] are null where
// there is none. `shifts` and `residuals` count their numbers: where x has more, they begin again. A thread for each number.
template <typename T>
__device__ inline void finish(const T *x, const T *bias, const T *shift, const T *residual, T *y, const unsigned channels,
                              const unsigned places, const unsigned shifts, const unsigned residuals, const int relu,
                              const unsigned count) {
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) {
        return;
    }
    const unsigned column = at / places; // of all rows' channels
    float sum = wide(x[at]);
    if (bias) {
        sum += wide(bias[column % channels]);
    }
    if (shift) {
        sum += wide(shift[column % shifts]);
    }
    if (residual) {
        sum += wide(residual[at % residuals]);
    }
    y[at] = narrow<T>(relu && sum < 0.0f ? 0.0f : sum);
}

#define FINISH(T, NAME)                                                                                                  \
    extern "C" __global__ void finish_##NAME(const T *x, const T *bias, const T *shift, const T *residual, T *y,         \
                                             const unsigned channels, const unsigned places, const unsigned shifts,      \
                                             const unsigned residuals, const int relu, const unsigned count) {           \
        finish(x, bias, shift, residual, y, channels, places, shifts, residuals, relu, count);                           \
    }
FOR_EACH_TYPE(FINISH)
