"""Where bytes lie: this disk, a URL, a hub. Every format reads blobs and folders, whatever is behind them."""
