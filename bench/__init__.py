"""What the plane costs, each figure beside that of bare grpc.aio in the same run."""
