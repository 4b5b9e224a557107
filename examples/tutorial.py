"""A custom layer, a custom activation and a custom model, as one first writes them in PyTorch."""

import torch
from torch import nn


class CustomLinearLayer(nn.Module):
    """A linear layer, written by hand."""

    def __init__(self, in_features, out_features):
        super().__init__()
        # Initialise with care: the spread of these numbers decides how large the output is.
        self.weights = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.randn(out_features))

    def forward(self, x):
        return x @ self.weights + self.bias


class CustomReLU(nn.Module):
    """A ReLU with a factor."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        # Verify gradients: autograd follows these operations; a backward of one's own can be wrong.
        return self.scale * torch.clamp(x, min=0)


class CustomModel(nn.Module):
    """Two custom layers with the custom activation between them."""

    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.layer1 = CustomLinearLayer(input_size, hidden_size)
        self.activation = CustomReLU(scale=0.5)
        self.layer2 = CustomLinearLayer(hidden_size, output_size)

    def forward(self, x):
        x = self.layer1(x)
        x = self.activation(x)
        return self.layer2(x)


def main():
    """Call the model once, then train it for ten epochs."""
    model = CustomModel(input_size=10, hidden_size=5, output_size=1)
    inputs = torch.randn(32, 10)
    targets = torch.randn(32, 1)
    print("output shape:", model(inputs).shape)

    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    # Profile: this loop is where the time goes, so measure it before making anything faster.
    for epoch in range(10):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        print(f"epoch {epoch + 1:2d}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
