// Rows times eight-bit weights on a CPU: the operation behind text/int8.py.
//
// A row becomes whole numbers of up to sixteen bits, so that each output is a sum of products of
// integers. Such a sum is exact, hence the same in any batch, and compilers make of the loop in
// `dots` the instructions that multiply and add sixteen or more numbers at once (pmaddwd, with
// VNNI vpdpwssd). Weights are widened in registers: memory and caches hold eight bits of each.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t LARGEST = 127;    // of a weight
constexpr int64_t TILE = 32;        // rows that stay in the cache while weights pass by
constexpr int64_t GRAIN = 1 << 19;  // products for which a thread of its own pays

struct Rows {
  const int16_t* numbers;  // [rows, width]
  const float* steps;      // [rows]: what a row's numbers are multiples of
  int64_t width;
};

struct Weights {
  const int8_t* numbers;  // [outputs, width]
  const float* steps;     // [outputs]
  int64_t outputs;
};

// Write a row as whole numbers from -limit to limit and return their step.
float whole_numbers(const float* row, int64_t width, int64_t limit, int16_t* out) {
  int32_t most = 0;  // magnitudes of floats are ordered as their bits are; NaN comes last
  for (int64_t i = 0; i < width; i++) {
    int32_t bits;
    std::memcpy(&bits, row + i, sizeof bits);
    most = std::max(most, bits & 0x7fffffff);
  }
  float largest;
  std::memcpy(&largest, &most, sizeof largest);
  largest = std::max(largest, 1e-30f);
  if (!(largest <= std::numeric_limits<float>::max())) {  // infinite, or no number
    std::fill(out, out + width, int16_t(0));
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float steps = float(limit) / largest;
  for (int64_t i = 0; i < width; i++) out[i] = int16_t(std::nearbyint(row[i] * steps));
  return largest / float(limit);
}

// P outputs of R rows. The sums stay in registers; each weight is widened once for all rows.
template <int P, int R>
void dots(const Weights& weights, int64_t output, const Rows& rows, int64_t row, float* out) {
  const int64_t width = rows.width;
  const int8_t* w = weights.numbers + output * width;
  const int16_t* x = rows.numbers + row * width;
  int32_t sums[P][R] = {};
  for (int64_t i = 0; i < width; i++)
    for (int p = 0; p < P; p++)
      for (int r = 0; r < R; r++)
        sums[p][r] += int32_t(int16_t(w[p * width + i])) * int32_t(x[r * width + i]);
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++)
      out[(row + r) * weights.outputs + output + p] =
          float(sums[p][r]) * (weights.steps[output + p] * rows.steps[row + r]);
}

template <int P>
void outputs_of_tile(const Weights& weights, int64_t output, const Rows& rows, int64_t begin,
                     int64_t end, float* out) {
  int64_t row = begin;
  for (; row + 4 <= end; row += 4) dots<P, 4>(weights, output, rows, row, out);
  for (; row < end; row++) dots<P, 1>(weights, output, rows, row, out);
}

void multiply(const Weights& weights, int64_t first, int64_t last, const Rows& rows, int64_t count,
              float* out) {
  for (int64_t begin = 0; begin < count; begin += TILE) {
    const int64_t end = std::min(begin + TILE, count);
    int64_t output = first;
    for (; output + 2 <= last; output += 2)
      outputs_of_tile<2>(weights, output, rows, begin, end, out);
    for (; output < last; output++) outputs_of_tile<1>(weights, output, rows, begin, end, out);
  }
}

// x [R, I] float32, weight [O, I] int8, steps [O] float32: x times the transpose of weight * steps.
at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& steps) {
  const at::Tensor input = x.contiguous();
  const int64_t count = x.size(0), width = x.size(1), outputs = weight.size(0);
  // Kept between calls: of a small layer an allocation would take as long as the product.
  thread_local std::vector<int16_t> numbers;
  thread_local std::vector<float> row_steps;
  numbers.resize(count * width);
  row_steps.resize(count);
  at::Tensor out = at::detail::empty_cpu({count, outputs}, at::kFloat, false, std::nullopt);
  const int64_t largest_sum = std::numeric_limits<int32_t>::max();
  const int64_t limit = std::min<int64_t>(32767, largest_sum / (LARGEST * width));
  for (int64_t r = 0; r < count; r++)
    row_steps[r] = whole_numbers(input.const_data_ptr<float>() + r * width, width, limit,
                                 numbers.data() + r * width);
  const Rows rows{numbers.data(), row_steps.data(), width};
  const Weights weights{weight.const_data_ptr<int8_t>(), steps.const_data_ptr<float>(), outputs};
  const int64_t grain = std::max<int64_t>(1, GRAIN / (width * count));
  at::parallel_for(0, outputs, grain, [&](int64_t first, int64_t last) {
    multiply(weights, first, last, rows, count, out.data_ptr<float>());
  });
  return out;
}

}  // namespace

TORCH_LIBRARY(unison_int8, library) {
  library.def("linear(Tensor x, Tensor weight, Tensor steps) -> Tensor");
}
TORCH_LIBRARY_IMPL(unison_int8, CPU, library) { library.impl("linear", int8_linear); }
TORCH_LIBRARY_IMPL(unison_int8, Autograd, library) {  // inference: there is nothing to record
  library.impl("linear", torch::CppFunction::makeFallthrough());
}
