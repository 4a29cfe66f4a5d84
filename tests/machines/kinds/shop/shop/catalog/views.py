from django.shortcuts import render

from .models import Product


def home(request):
    Product.objects.get_or_create(name='Teapot', defaults={'price': '12.50'})
    return render(request, 'catalog/home.html', {'products': Product.objects.all()})
