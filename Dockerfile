# The package as it is installed for use, with the demo as its command: see docs/install.md.
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 sweeper
WORKDIR /opt/pixelwise-adversarial-sweeps
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY trainable trainable
COPY sweeps sweeps
COPY analysis analysis
RUN pip install --no-cache-dir -c constraints.txt .
USER 1000
WORKDIR /home/sweeper
CMD ["pwa", "lambda_grid"]
