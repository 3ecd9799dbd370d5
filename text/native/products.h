// Rows times a matrix of weights, on one CPU: the work of a decoder's step.
//
// Outputs lie in blocks of LANES, as many as a vector holds: [blocks, inputs, LANES]. One pass over
// the inputs reads a block's weights in order, widens them in registers, and adds them up for some
// rows at once. Each sum runs over the inputs from first to last, whatever the number of rows, so a
// row's result is bit for bit the same in any batch and with any threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace unison {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int LANES = BYTES / sizeof(float);
constexpr int64_t GRAIN = 1 << 19;  // products for which a thread of its own pays

typedef float Floats __attribute__((vector_size(BYTES)));
typedef int32_t Words __attribute__((vector_size(BYTES)));

enum Type : int32_t { FLOAT32, BFLOAT16, INT8 };
// Weights of one output for consecutive inputs that share a word of 32 bits, the first lowest.
constexpr int A_WORD[] = {1, 2, 4};

struct Matrix {
  const void* weights;  // [blocks, inputs / A_WORD[type], LANES] words, filled up with zeros
  const float* steps;   // [blocks, LANES]: what eight-bit weights are multiples of, else null
  const float* bias;    // [blocks, LANES], or null
  int64_t outputs, inputs;
  int32_t type;

  int64_t words() const { return (inputs + A_WORD[type] - 1) / A_WORD[type]; }
  int64_t width() const { return words() * A_WORD[type]; }  // inputs, filled up
  int64_t blocks() const { return (outputs + LANES - 1) / LANES; }
};

template <class V, class T>
V loaded(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// The k-th weights of some words. By shifts, as gcc 12 takes conversions from bytes one by one.
template <Type T>
Floats widened(const Words& words, int k) {
  if constexpr (T == INT8)
    return __builtin_convertvector(words << (24 - 8 * k) >> 24, Floats);
  const Words bits = T == FLOAT32 ? words : k == 0 ? words << 16 : words & int32_t(0xffff0000);
  return loaded<Floats>(&bits);
}

// Rows side by side at most: as many sums as registers hold, 32 or the 16 of AVX2, on which one pass
// over eight-bit words, which take instructions to widen, for eight rows beats two for four.
constexpr int64_t most_rows(int32_t type) {
  constexpr bool few = BYTES == 32;
  return !few ? 16 : type == FLOAT32 ? 4 : 8;
}

// How many of the rows that are left go through a matrix together.
inline int64_t together(int64_t left, int32_t type) {
  int64_t rows = most_rows(type);
  while (rows > left) rows /= 2;
  return rows;
}

// Outputs of B blocks for R rows, which lie as columns: [width, R].
template <int B, int R, Type T>
void blocks_of_rows(const Matrix& m, int64_t block, const float* columns, float* out) {
  constexpr int N = A_WORD[T];
  const int64_t words = m.words();
  const int32_t* weights = static_cast<const int32_t*>(m.weights) + block * words * LANES;
  Floats sums[B][R] = {};
  for (int64_t i = 0; i < words; i++)
    for (int b = 0; b < B; b++) {
      const Words word = loaded<Words>(weights + (b * words + i) * LANES);
      for (int k = 0; k < N; k++) {
        const Floats w = widened<T>(word, k);
        for (int r = 0; r < R; r++) sums[b][r] += w * columns[(i * N + k) * R + r];
      }
    }
  for (int b = 0; b < B; b++) {
    const int64_t first = (block + b) * LANES;
    const size_t bytes = std::min<int64_t>(LANES, m.outputs - first) * sizeof(float);
    for (int r = 0; r < R; r++) {
      Floats sum = sums[b][r];
      if (m.steps) sum *= loaded<Floats>(m.steps + first);
      if (m.bias) sum += loaded<Floats>(m.bias + first);
      std::memcpy(out + r * m.outputs + first, &sum, bytes);
    }
  }
}

template <int R, Type T>
void rows_of_blocks(const Matrix& m, int64_t begin, int64_t end, const float* columns, float* out) {
  constexpr int TOGETHER = R <= 2 ? 4 : R == 4 ? 2 : 1;
  int64_t block = begin;
  for (; block + TOGETHER <= end; block += TOGETHER)
    blocks_of_rows<TOGETHER, R, T>(m, block, columns, out);
  for (; block < end; block++) blocks_of_rows<1, R, T>(m, block, columns, out);
}

template <Type T>
void some_blocks(const Matrix& m, int64_t begin, int64_t end, const float* columns, int64_t rows,
                 float* out) {
  constexpr int64_t STRIP = 4;  // blocks that stay in the cache while all rows pass by
  for (int64_t first = begin; first < end; first += STRIP) {
    const int64_t last = std::min(first + STRIP, end);
    for (int64_t row = 0, count; row < rows; row += count) {
      count = together(rows - row, m.type);
      const float* x = columns + row * m.width();
      float* y = out + row * m.outputs;
      switch (count) {
        case 16: rows_of_blocks<16, T>(m, first, last, x, y); break;
        case 8: rows_of_blocks<8, T>(m, first, last, x, y); break;
        case 4: rows_of_blocks<4, T>(m, first, last, x, y); break;
        case 2: rows_of_blocks<2, T>(m, first, last, x, y); break;
        default: rows_of_blocks<1, T>(m, first, last, x, y);
      }
    }
  }
}

// Write rows [rows, inputs] as columns [width, R], in the groups that go through a matrix together.
inline void lay_out(const float* x, int64_t rows, const Matrix& m, std::vector<float>& columns) {
  const int64_t width = m.width();
  columns.resize(rows * width);
  for (int64_t row = 0, count; row < rows; row += count) {
    count = together(rows - row, m.type);
    float* group = columns.data() + row * width;
    for (int64_t r = 0; r < count; r++)
      for (int64_t i = 0; i < m.inputs; i++) group[i * count + r] = x[(row + r) * m.inputs + i];
    std::fill(group + m.inputs * count, group + width * count, 0.0f);
  }
}

// out [rows, outputs] = x [rows, inputs] times the matrix, plus its bias.
inline void multiply(const Matrix& m, const float* x, int64_t rows, float* out, int64_t threads) {
  thread_local std::vector<float> kept;  // of a small layer an allocation takes as long
  const bool as_it_is = rows == 1 && m.width() == m.inputs;
  if (!as_it_is) lay_out(x, rows, m, kept);
  const float* columns = as_it_is ? x : kept.data();
  const int64_t blocks = m.blocks();
  const int64_t parts = std::min({rows * m.inputs * m.outputs / GRAIN + 1, threads, blocks});
#pragma omp parallel for num_threads(int(parts)) if (parts > 1)
  for (int64_t part = 0; part < parts; part++) {
    const int64_t begin = blocks * part / parts, end = blocks * (part + 1) / parts;
    switch (m.type) {
      case FLOAT32: some_blocks<FLOAT32>(m, begin, end, columns, rows, out); break;
      case BFLOAT16: some_blocks<BFLOAT16>(m, begin, end, columns, rows, out); break;
      default: some_blocks<INT8>(m, begin, end, columns, rows, out);
    }
  }
}

}  // namespace unison
