// The training loop that a C++ user of libtorch would write for speed: no Python in a step.
//
// `fit` makes a network, trains it, and throws it away, as the peers in _peers.py do. It is built
// as a shared library and runs in Python's process: same libtorch, same threads, same memory.
//
// The update is the fused kernel, one pass over all parameters, of which the optimizers of the C++
// API make no use: theirs take several passes, one parameter at a time. All parameters share the
// one step count that the kernel asks for.

#include <torch/torch.h>

#include <string>
#include <vector>

namespace {

enum Loss { kCrossEntropy, kBinaryCrossEntropy, kSquaredError };
enum Solver { kAdam, kSgd };

torch::Tensor loss_of(const torch::Tensor& outputs, const torch::Tensor& y, int loss) {
  switch (loss) {
    case kCrossEntropy:
      return torch::cross_entropy_loss(outputs, y);
    case kBinaryCrossEntropy:
      return torch::binary_cross_entropy_with_logits(outputs, y);
    default:
      return torch::mse_loss(outputs, y);
  }
}

class Update {
 public:
  Update(std::vector<torch::Tensor> parameters, int solver, double rate)
      : parameters_(std::move(parameters)), solver_(solver), rate_(rate) {
    for (const auto& parameter : parameters_) {
      first_.push_back(torch::zeros_like(parameter));
      if (solver_ == kAdam) second_.push_back(torch::zeros_like(parameter));
    }
    counts_.assign(parameters_.size(), count_);
    gradients_.resize(parameters_.size());
  }

  void operator()() {
    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      gradients_[i] = parameters_[i].grad();
    }
    if (solver_ == kAdam) {
      count_.add_(1);
      at::_fused_adam_(parameters_, gradients_, first_, second_, {}, counts_, rate_,
                       /*beta1=*/0.9, /*beta2=*/0.999, /*weight_decay=*/0, /*eps=*/1e-8,
                       /*amsgrad=*/false, /*maximize=*/false);
    } else {
      at::_fused_sgd_(parameters_, gradients_, first_, /*weight_decay=*/0, /*momentum=*/0.9,
                      rate_, /*dampening=*/0, /*nesterov=*/true, /*maximize=*/false, is_first_);
      is_first_ = false;
    }
    // The next backward pass then takes its own gradients over instead of adding them.
    for (auto& parameter : parameters_) parameter.mutable_grad().reset();
  }

 private:
  std::vector<torch::Tensor> parameters_, gradients_, first_, second_, counts_;
  torch::Tensor count_ = torch::zeros({});
  int solver_;
  double rate_;
  bool is_first_ = true;
};

// Returns the loss of the last batch.
double train(const torch::Tensor& X, const torch::Tensor& y, const int64_t* sizes,
             int64_t n_layers, int64_t batch, int64_t epochs, int loss, int solver, double rate) {
  torch::nn::Sequential network;
  for (int64_t i = 0; i < n_layers; ++i) {
    if (i > 0) network->push_back(torch::nn::ReLU());
    network->push_back(torch::nn::Linear(sizes[i], sizes[i + 1]));
  }
  network->to(X.scalar_type());
  Update update(network->parameters(), solver, rate);
  torch::Tensor value;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto order = torch::randperm(X.size(0));
    const auto X_epoch = X.index_select(0, order), y_epoch = y.index_select(0, order);
    for (int64_t start = 0; start < X.size(0); start += batch) {
      const auto n_rows = std::min(batch, X.size(0) - start);
      const auto outputs = network->forward(X_epoch.narrow(0, start, n_rows));
      value = loss_of(outputs, y_epoch.narrow(0, start, n_rows), loss);
      value.backward();
      update();
    }
  }
  return value.item<double>();
}

}  // namespace

// Rows are C-contiguous; y is int64 labels for the cross entropy, else one column of floats. Puts
// the loss of the last batch into `final_loss`, and returns null, or why it failed: an exception
// must not reach the caller, which is not C++.
extern "C" const char* fit(void* X, void* y, int64_t n_rows, const int64_t* sizes,
                           int64_t n_layers, int64_t batch, int64_t epochs, int is_double, int loss,
                           int solver, double rate, double* final_loss) {
  static std::string message;
  try {
    const auto floats = is_double ? torch::kFloat64 : torch::kFloat32;
    const auto rows = torch::from_blob(X, {n_rows, sizes[0]}, floats);
    const auto targets = loss == kCrossEntropy ? torch::from_blob(y, {n_rows}, torch::kInt64)
                                               : torch::from_blob(y, {n_rows, 1}, floats);
    *final_loss = train(rows, targets, sizes, n_layers, batch, epochs, loss, solver, rate);
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}
