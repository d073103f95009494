"""What a layer is run by: device, number format, packed products, attention, cores."""
